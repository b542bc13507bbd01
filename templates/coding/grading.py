"""Grade a workspace with the hidden test suite.

The verdict is made in the server's process from what functions return. Nothing in the workspace can pronounce it: no
exit code, no test report, no conftest.py or sitecustomize.py counts.
"""

import os
import re

from workspace import HERE, Failed, account, python, run

# It stays in this folder, which the agent's user cannot enter.
HIDDEN = os.path.join(HERE, "hidden")


async def grade(workspace, suite, *, agent, answer):
    """Give the evaluation: 1.0 when every hidden test passes, else 0.0, with counts in `info`."""
    import json

    info = {"graded": "the workspace"}
    if patch := patch_in(answer):
        applied = await apply(patch, workspace, agent)
        info["graded"] = (
            "the workspace with the answer's patch" if applied else "the workspace; the patch does not apply"
        )
    with open(os.path.join(HIDDEN, f"{suite}.json"), encoding="utf-8") as file:
        cases = json.load(file)
    passed = 0
    try:
        results = await call_in_copy(workspace, cases, agent)
        passed = sum(is_right(case, result) for case, result in zip(cases, results, strict=False))
    except Failed as error:
        info["failure"] = str(error)
    info |= {"passed": passed, "tests": len(cases)}
    return {"score": 1.0 if passed == len(cases) else 0.0, "info": info}


def is_right(case, result):
    # As JSON text, because in Python 1 == 1.0 == True.
    return canonical({key: case[key] for key in ("returns", "raises") if key in case}) == canonical(result)


def canonical(value):
    import json

    return json.dumps(value, sort_keys=True)


async def call_in_copy(workspace, cases, agent):
    """Make the calls of the test suite in a copy of the workspace and give their results, in order."""
    import json
    import shutil
    import tempfile

    # Read as the agent and unpacked as the grader: a link to a file of ours leads to nothing they could not read
    # before, and what the agent still has running cannot change the copy.
    grader = account("grader")
    archive = await run("tar", "-cf", "-", "--exclude=./.git", ".", cwd=workspace, user=agent)
    copy = tempfile.mkdtemp(prefix="grade-")
    try:
        if grader is not None:
            os.chown(copy, grader.pw_uid, grader.pw_gid)
        await run("tar", "-xf", "-", cwd=copy, user=grader, stdin=archive)
        with open(os.path.join(HIDDEN, "runner.py"), encoding="utf-8") as file:
            runner = file.read()
        calls = json.dumps([{"function": case["function"], "args": case["args"]} for case in cases])
        report = await run(*python(), "-c", runner, cwd=copy, user=grader, stdin=calls.encode(), limit_bytes=1 << 20)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    try:
        return [json.loads(line) for line in report.splitlines()]
    except ValueError:
        raise Failed("the report of the calls is not JSON") from None


def patch_in(answer):
    """Give the unified diff in an answer (bare, or in a Markdown fence), or None."""
    if not isinstance(answer, str):
        return None
    start = re.search(r"^(diff --git |--- \S)", answer, re.MULTILINE)
    if start is None or "\n@@ " not in answer:
        return None
    return answer[start.start() :].partition("\n```")[0].rstrip("\n") + "\n"


async def apply(patch, workspace, agent):
    """Apply a patch to the workspace as the agent's user; say whether it fitted."""
    import shutil

    if shutil.which("git") is None:
        raise RuntimeError("an answer that is a patch needs git where the environment runs")
    try:
        await run("git", "apply", "--recount", "-", cwd=workspace, user=agent, stdin=patch.encode())
    except Failed:
        return False
    return True
