"""The environment my-env: a repository to mend through a shell, graded by a test suite the agent cannot see."""

from grading import grade
from shell import Shell
from workspace import Workspaces

from hud import Environment

env = Environment("my-env")
workspaces = Workspaces()
shell = Shell()


@env.initialize
async def open_workspaces():
    await workspaces.open()
    await shell.open(workspaces.root)
    if shell.capability is not None:
        env.add_capability(shell.capability)


@env.shutdown
async def close_workspaces():
    await shell.close()
    workspaces.close()


REPORTS = {
    1: 'slugify("Hello, World!") gives "hello--world-". It should do what its docstring says.',
    2: "wrap() breaks lines in the wrong places. It should do what its docstring says.",
    3: "parse_duration() and format_duration() do not keep what their docstrings promise. Both should.",
}


@env.template(description="Mend a bug in a small Python package; a hidden test suite decides.")
async def fix_bug(difficulty: int = 1):
    if difficulty not in REPORTS:
        raise ValueError(f"difficulty is 1, 2 or 3, not {difficulty}")
    workspace = await workspaces.create()
    try:
        prompt = (
            f"The Python package textkit is in {workspace}, a git repository.\n\n"
            f"{REPORTS[difficulty]}\n\n"
            "Mend it there. Its own tests pass already; others, which you cannot see, decide. "
            "Without a shell, answer with a patch (a unified diff)."
        )
        bindings = {} if shell.capability is None else {"bindings": {"shell": {"cwd": workspace}}}
        answer = yield {"prompt": prompt, **bindings}
        yield await grade(workspace, difficulty, agent=workspaces.agent, answer=answer)
    finally:
        await workspaces.remove(workspace)
