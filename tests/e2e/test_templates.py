"""What `hud init` scaffolds works: it loads, builds, starts, tells right answers from wrong ones, and stops."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import asyncssh
import pytest
from websockets.asyncio.client import connect as connect_websocket

from hud.client import Client, connect
from hud.client.blocking import Connection
from hud.environment.source import collect_tasks
from hud.eval.task import Task
from hud.wire import TOKEN_VARIABLE
from tests import bench

TEMPLATES = bench.ROOT / "templates"
LONGEST_S = 900  # the first test on an image waits for its build, which may fetch a browser from a slow mirror
NAMES = ["blank", "coding", "browser", "gpu"]


def patch(difficulty: int) -> str:
    return (TEMPLATES / "coding" / "hidden" / f"{difficulty}.patch").read_text()


# Template of the scaffold, task, arguments, a right answer, wrong ones.
SCRIPTED = [
    ("blank", "count", {"sentence": "Strawberry world", "letter": "r"}, "4", ["3", "14", "4 or 5", ""]),
    ("blank", "count", {"sentence": "banana", "letter": "a"}, " 3\n", ["4", "three", ""]),
    ("blank", "fix_bug", {}, "return sum(numbers) / len(numbers)", ["return sum(numbers) * len(numbers)", "/", ""]),
    (
        "blank",
        "fix_bug",
        {"difficulty": 2},
        "return year%4 == 0 and (year % 100 != 0 or year % 400 == 0)",
        ["or", "return True", ""],
    ),
    ("blank", "fix_bug", {"difficulty": 3}, "`if numbers[middle] < limit:`", ["if numbers[middle] <= limit:", "<", ""]),
    ("coding", "fix_bug", {}, patch(1), [patch(2), "It is mended.", ""]),
    ("coding", "fix_bug", {"difficulty": 2}, f"Here:\n```diff\n{patch(2)}```\n", [patch(1), "--- a\n+++ b\n@@ x", ""]),
    ("coding", "fix_bug", {"difficulty": 3}, patch(3).strip(), [patch(1), patch(3)[:-40], ""]),
    ("gpu", "steer", {}, "1,1,1,1,1,1,1,1", ["1,1,1,1", "nan,1,1,1,1,1,1,1", "9,9,9,9,9,9,9,9", ""]),
    ("gpu", "steer", {"target": 3}, "[1, -1, -1, 1, 1, -1, -1, 1]", ["1,1,1,1,1,1,1,1", "0,0,0,0,0,0,0,0", ""]),
]
SCRIPTED_IDS = [f"{name}-{task}-{len(json.dumps(args))}" for name, task, args, _, _ in SCRIPTED]


@contextmanager
def served(template: str) -> Iterator[str]:
    """Serve a template's own folder from a process of ours and give its address."""
    with subprocess.Popen(
        [sys.executable, "-B", "-m", "hud.environment.server", TEMPLATES / template / "env.py"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
    ) as server:
        try:
            assert server.stdout is not None
            line = next((line for line in server.stdout if line.startswith("HUD_SERVE_PORT=")), None)
            assert line is not None, f"the {template} template does not serve"
            yield f"tcp://127.0.0.1:{line.strip().partition('=')[2]}"
        finally:
            server.terminate()
            assert server.wait(timeout=10) == 143


def play(channel: Connection, task: str, args: dict[str, Any], answer: str | None) -> float:
    channel.call("tasks.start", {"id": task, "args": args})
    score = channel.call("tasks.grade", {"answer": answer})["score"]
    assert isinstance(score, int | float)
    return float(score)


# Without an engine


@pytest.mark.parametrize(("template", "task", "args", "right", "wrong"), SCRIPTED, ids=SCRIPTED_IDS)
def test_a_right_answer_scores_one_and_wrong_ones_less(
    template: str, task: str, args: dict[str, Any], right: str, wrong: list[str]
) -> None:
    with served(template) as url, Connection.open(url, timeout_s=10) as channel:
        assert play(channel, task, args, right) == 1.0
        assert [answer for answer in wrong if play(channel, task, args, answer) >= 1.0] == []


@pytest.mark.parametrize("template", NAMES)
def test_doing_nothing_never_scores_one(template: str) -> None:
    rows = collect_tasks(str(TEMPLATES / template / "tasks.py"))
    with served(template) as url, Connection.open(url, timeout_s=10) as channel:
        scores = {(row.slug, answer): play(channel, row.id, row.args, answer) for row in rows for answer in ("", None)}
    assert rows
    assert [played for played, score in scores.items() if score >= 1.0] == []


@pytest.mark.parametrize("template", NAMES)
def test_the_folder_of_a_template_lists_the_same_rows_as_its_task_file(template: str) -> None:
    in_folder, in_file = (
        collect_tasks(str(source)) for source in (TEMPLATES / template, TEMPLATES / template / "tasks.py")
    )
    assert [row.slug for row in in_folder] == [row.slug for row in in_file]


def test_the_rows_of_the_blank_template_have_the_slugs_of_the_specification() -> None:
    rows = collect_tasks(str(TEMPLATES / "blank" / "tasks.py"))
    assert [row.slug for row in rows] == [
        "count-4376680e",
        "count-e8d5ddbb",
        "fix_bug",
        "fix_bug-df99050d",
        "fix_bug-db00eaba",
    ]


def test_a_site_without_a_browser_says_so_in_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with served("browser") as url, Connection.open(url, timeout_s=10) as channel:
        assert channel.hello["bindings"] == []
        prompt = channel.call("tasks.start", {"id": "read_code", "args": {}})["prompt"]
        assert "No browser comes with this environment here" in prompt
        page = re.search(r"http://\S+", prompt)
        assert page is not None
        html = urlopen(page[0]).read().decode()
        proof = re.search(r'proof = "(.*)"', html)
        assert proof is not None
        code = urlopen(Request(f"{page[0]}code", data=json.dumps(proof[1][::-1]).encode())).read().decode()
        assert code not in html
        assert channel.call("tasks.grade", {"answer": code})["score"] == 1.0


def test_a_grade_of_the_gpu_template_names_its_device() -> None:
    with served("gpu") as url, Connection.open(url, timeout_s=10) as channel:
        channel.call("tasks.start", {"id": "steer", "args": {}})
        info = channel.call("tasks.grade", {"answer": "1,1,1,1,1,1,1,1"})["info"]
    assert re.match(r"cpu|cuda", info["device"])
    assert info["margin"] == 8


def test_sessions_of_the_coding_template_do_not_share_a_working_copy() -> None:
    with (
        served("coding") as url,
        Connection.open(url, timeout_s=10) as first,
        Connection.open(url, timeout_s=10) as second,
    ):
        for channel in (first, second):
            channel.call("tasks.start", {"id": "fix_bug", "args": {}})
        assert first.call("tasks.grade", {"answer": patch(1)})["score"] == 1.0
        assert second.call("tasks.grade", {"answer": ""})["score"] == 0.0


@pytest.mark.parametrize("template", NAMES)
def test_importing_a_template_loads_nothing_heavy(template: str) -> None:
    heavy = {"asyncio", "dataclasses", "inspect", "logging", "pathlib", "subprocess", "tempfile", "typing"}
    heavy -= {"logging"} if template != "blank" else set()  # their daemons warn through it
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, tasks; print(*sys.modules)"],
        cwd=TEMPLATES / template,
        env={**os.environ, "PYTHONPATH": str(bench.ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy & set(loaded.stdout.split()) == set()


@pytest.mark.parametrize("template", NAMES)
def test_every_template_holds_what_a_newcomer_expects(template: str) -> None:
    present = {entry.name for entry in (TEMPLATES / template).iterdir()}
    wanted = {"env.py", "tasks.py", "Dockerfile.hud", ".dockerignore", "pyproject.toml", "README.md"}
    assert wanted - present == set()
    assert 'Environment("my-env")' in (TEMPLATES / template / "env.py").read_text()
    assert {".env", ".git", ".hud"} <= set((TEMPLATES / template / ".dockerignore").read_text().splitlines())


# On an engine


class Container:
    """A running container of a template's image."""

    def __init__(self, image: str, *run_args: str) -> None:
        self.docker = bench.require_docker()
        self.name = f"hud-test-{uuid.uuid4().hex[:12]}"
        self.call("run", "--detach", "--name", self.name, "--publish", "127.0.0.1::8765", *run_args, image)

    def call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([self.docker, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, f"docker {arguments}: {done.stderr}\n{done.stdout}"
        return done

    def exec(self, *command: str) -> str:
        return self.call("exec", self.name, *command).stdout

    @property
    def url(self) -> str:
        return f"tcp://{self.call('port', self.name, '8765/tcp').stdout.split()[0]}"

    def wait_until_ready(self) -> None:
        with Connection.open(self.url, timeout_s=60, token=os.environ.get(TOKEN_VARIABLE)):
            pass

    def files_of(self, folder: str) -> list[str]:
        """List a folder, also of a stopped container."""
        archive = subprocess.run([self.docker, "cp", f"{self.name}:{folder}", "-"], capture_output=True, check=True)
        return tarfile.open(fileobj=io.BytesIO(archive.stdout)).getnames()


@pytest.fixture
def container(template_image: Callable[[str], str]) -> Iterator[Callable[..., Container]]:
    started: list[Container] = []

    def start(template: str, *run_args: str) -> Container:
        started.append(Container(template_image(template), *run_args))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for each in started:
        each.call("rm", "--force", each.name, check=False)


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("template", ["blank", "coding", "gpu"])
def test_tasks_of_an_image_run_through_docker_exec(container: Callable[..., Container], template: str) -> None:
    run1 = container(template)
    listed = [line.split("\t")[0] for line in run1.exec("hud", "task", "list").splitlines()]
    assert listed == [row.slug for row in collect_tasks(str(TEMPLATES / template / "tasks.py"))]
    for _, task, args, right, wrong in (case for case in SCRIPTED if case[0] == template):
        for answer, score in ((right, 1.0), *((answer, 0.0) for answer in wrong)):
            assert run1.exec("hud", "task", "start", task, "--args", json.dumps(args)).strip()
            assert float(run1.exec("hud", "task", "grade", task, "--answer", answer)) == score, (task, args, answer)


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("template", ["blank", "coding", "gpu"])
def test_the_commands_of_a_readme_work_as_written(
    scaffold: Callable[[str], Path], template_image: Callable[[str], str], template: str
) -> None:
    folder, docker, run1 = scaffold(template), bench.require_docker(), f"hud-test-{uuid.uuid4().hex[:12]}"
    commands = re.findall(r"^    (docker (?!build).*)$", (folder / "README.md").read_text(), re.MULTILINE)
    script = "\n".join(commands).replace("--gpus all", "").replace(folder.name, template_image(template))
    script = f'docker() {{ {docker} "$@"; }}\n{script.replace("run1", run1)}'
    try:
        done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        *_, score, removed = done.stdout.splitlines()
        assert (score, removed) == ("1.0", run1)
    finally:
        subprocess.run([docker, "rm", "--force", run1], capture_output=True, check=False)


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize(
    ("template", "printed"), [("blank", "1.0"), ("coding", "0.0"), ("gpu", "1.0 cpu (plain Python)")]
)
def test_the_python_of_a_readme_works_as_written(
    scaffold: Callable[[str], Path], template_image: Callable[[str], str], template: str, printed: str
) -> None:
    folder = scaffold(template)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    program = "\n".join(block for block in blocks if "tcp://" not in block)
    program = program.replace(f'DockerRuntime("{folder.name}"', f'DockerRuntime("{template_image(template)}"')
    program = program.replace('run_args=["--gpus", "all"]', "run_args=[]")
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == printed


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.slow
def test_the_browser_image_refuses_a_guess_through_docker_exec(container: Callable[..., Container]) -> None:
    run1 = container("browser")
    assert "http://127.0.0.1:" in run1.exec("hud", "task", "start", "read_code")
    assert float(run1.exec("hud", "task", "grade", "read_code", "--answer", "000000")) == 0.0
    run1.exec("hud", "task", "start", "order")
    assert float(run1.exec("hud", "task", "grade", "order", "--answer", "I ordered it")) == 0.0


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("template", ["blank", "coding", "gpu", pytest.param("browser", marks=pytest.mark.slow)])
def test_a_container_stops_cleanly_with_a_task_open(container: Callable[..., Container], template: str) -> None:
    run1 = container(template)
    task = {"blank": "fix_bug", "coding": "fix_bug", "gpu": "steer", "browser": "read_code"}[template]
    run1.exec("hud", "task", "start", task)
    begun = time.monotonic()
    run1.call("stop", "--time", "20", run1.name)
    assert time.monotonic() - begun < 10
    assert run1.call("inspect", "--format", "{{.State.ExitCode}}", run1.name).stdout.strip() == "143"
    left = run1.files_of("/tmp") + (run1.files_of("/workspaces") if template == "coding" else [])
    assert [name for name in left if "my-" in name or "run-" in name or "grade-" in name] == []


KILLED_SERVER = """
import glob, os, signal, subprocess, sys, time

def daemons():
    found = set()
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = open(path, "rb").read()
            state = open(os.path.dirname(path) + "/stat").read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if sys.argv[1].encode() in words and path.split("/")[2] != str(os.getpid()) and state != "Z":
            found.add(path.split("/")[2])
    return found

before = daemons()
server = subprocess.Popen(["hud", "serve", "env.py", "--port", "0"], stdout=subprocess.PIPE, text=True)
assert server.stdout.readline().startswith("HUD_SERVE_PORT=")
assert daemons() - before
server.kill()
deadline = time.monotonic() + 10
while daemons() - before and time.monotonic() < deadline:
    time.sleep(0.05)
assert not daemons() - before, daemons() - before
"""


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize(
    ("template", "daemon"), [("coding", "sshd"), pytest.param("browser", "chromium", marks=pytest.mark.slow)]
)
def test_a_killed_server_leaves_no_daemon(container: Callable[..., Container], template: str, daemon: str) -> None:
    container(template).exec("python3", "-c", KILLED_SERVER, daemon)


@asynccontextmanager
async def agent_shell(client: Client) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Open the published shell as an agent does: through the control port, with its key, the host's key checked."""
    shell = client.binding("shell")
    host, _, port = shell.url.removeprefix("ssh://").rpartition(":")
    known = asyncssh.import_known_hosts(f"[{host}]:{port} {shell.params['host_pubkey']}\n")
    key = asyncssh.import_private_key(shell.params["client_key"])
    user = shell.params["user"]
    async with asyncssh.connect(
        host,
        int(port),
        username=user,
        client_keys=[key],
        known_hosts=known,
        config=None,
        agent_path=None,
        login_timeout=20,
    ) as connection:
        yield connection


def workspace_in(prompt: str) -> str:
    found = re.search(r"/workspaces/run-\w+", prompt)
    assert found is not None
    return found[0]


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
async def test_an_agent_mends_the_repository_through_the_tunnelled_shell(
    container: Callable[..., Container],
) -> None:
    async with connect(container("coding").url) as client, agent_shell(client) as shell:
        for difficulty in (1, 2, 3):
            prompt = await client.start_task("fix_bug", {"difficulty": difficulty})
            workspace = workspace_in(prompt["prompt"])
            tests = await shell.run(f"cd {workspace} && git status --short && python3 -m unittest -q")
            assert (tests.exit_status, tests.stdout) == (0, "")
            mended = await shell.run(f"cd {workspace} && git apply -", input=patch(difficulty))
            assert mended.exit_status == 0, mended.stderr
            assert (await client.grade({"answer": "done"}))["score"] == 1.0
            assert (await shell.run(f"test -e {workspace}")).exit_status == 1


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
async def test_the_token_of_a_channel_stays_out_of_the_agents_reach(
    container: Callable[..., Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "7f3a-of-the-test")
    run1 = container("coding", "--env", TOKEN_VARIABLE)
    assert run1.exec("hud", "task", "start", "fix_bug")  # docker exec has the container's environment
    async with connect(run1.url) as client, agent_shell(client) as shell:
        looked = await shell.run(
            "env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; ps -e -o args 2>/dev/null"
        )
        assert "7f3a" not in str(looked.stdout)
        tried = await shell.run("hud task grade fix_bug --answer ''")
        assert tried.exit_status == 4, tried.stderr


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
async def test_without_root_the_shell_and_the_grader_are_the_author(container: Callable[..., Container]) -> None:
    source = f"{TEMPLATES / 'coding'}:/src:ro"
    run1 = container("coding", "--user", "agent", "--volume", source, "--workdir", "/src", "--env", "WORKSPACES=")
    async with connect(run1.url) as client, agent_shell(client) as shell:
        started = await client.start_task("fix_bug", {"difficulty": 2})
        workspace = started["bindings"]["shell"]["cwd"]
        assert workspace.startswith("/tmp/")
        assert workspace in started["prompt"]
        mended = await shell.run(f"cd {workspace} && git apply -", input=patch(2))
        assert mended.exit_status == 0, mended.stderr
        assert (await client.grade({"answer": "done"}))["score"] == 1.0
        await shell.run("nohup sleep 1000 >/dev/null 2>&1 </dev/null &")
    assert "no user 'agent' to act as" in run1.call("logs", run1.name).stderr
    run1.call("stop", "--time", "20", run1.name)
    assert [name for name in run1.files_of("/tmp") if "my-env" in name] == []


FORGED_REPORT = """
import json, os
for line in range(40):
    for descriptor in range(1, 32):
        try:
            os.write(descriptor, (json.dumps({"returns": "hello-world"}) + "\\n").encode())
        except OSError:
            pass
os._exit(0)
"""
EQUAL_TO_ALL = """
class Equal(str):
    __eq__ = lambda self, other: True
    __hash__ = str.__hash__
def slugify(text, separator="-"):
    return Equal("hello-world")
wrap = parse_duration = format_duration = slugify
"""
CHEATS = {
    "a forged report": f"cat >textkit/__init__.py <<'END'\n{FORGED_REPORT}END",
    "an object equal to everything": f"cat >textkit/__init__.py <<'END'\n{EQUAL_TO_ALL}END",
    "tests that always pass": "rm -r tests; echo 'import os; os._exit(0)' | tee conftest.py sitecustomize.py >tests.py",
    "a shadowed json": "echo 'loads = dumps = load = lambda *_: 1' | tee json.py textkit/json.py >re.py",
    "a link to the hidden tests": "ln -sf /app/hidden/1.patch textkit/slug.py; ln -sf /app/hidden notes",
    "reading the solution": "for hidden in /app /proc/1/root/app; do git apply $hidden/hidden/1.patch; done",
    "a copy of the solution in hud's templates": "find / -name 1.patch -exec git apply {} + 2>/dev/null",
    "killing the server": "kill -9 1; kill -9 -1; true",
    "an endless loop": "echo 'while True: pass' >textkit/slug.py",
    "a flood": "echo 'import sys\nwhile True: sys.stderr.write(\"x\" * 65536)' >textkit/slug.py",
    "a fork bomb": "echo 'import os\nwhile True: os.fork()' >textkit/slug.py",
    "a pipe in place of the module": "rm textkit/slug.py && mkfifo textkit/slug.py",
    "an empty workspace": "rm -rf textkit",
}


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
async def test_an_agent_cannot_forge_the_verdict(container: Callable[..., Container]) -> None:
    async with connect(container("coding").url) as client:
        for name, cheat in CHEATS.items():
            workspace = workspace_in((await client.start_task("fix_bug", {"difficulty": 1}))["prompt"])
            try:
                async with agent_shell(client) as shell:
                    await shell.run(f"cd {workspace}\n{cheat}", timeout=20)
            except (OSError, asyncssh.Error):
                pass  # `kill -9 -1` ends the agent's own connection
            assert (await client.grade({"answer": ""}))["score"] == 0.0, name
        workspace = workspace_in((await client.start_task("fix_bug", {"difficulty": 1}))["prompt"])
        assert (await client.grade({"answer": patch(1)}))["score"] == 1.0  # the environment has not suffered


class Page:
    """One tab of a browser, driven over the DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._session: str | None = None

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        frame = {"id": number, "method": method, "params": params}
        await self._socket.send(json.dumps(frame | ({"sessionId": self._session} if self._session else {})))
        while True:
            reply = json.loads(await self._socket.recv())
            if reply.get("id") == number:
                assert "error" not in reply, reply
                result = reply["result"]
                assert isinstance(result, dict)
                return result

    async def open(self, url: str) -> None:
        target = (await self.call("Target.createTarget", url=url))["targetId"]
        self._session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        await self.until("document.readyState === 'complete' && location.protocol === 'http:'")

    async def evaluate(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        # Asked again and again from here: a promise inside the page is lost when the page navigates.
        async with asyncio.timeout(20):
            while not await self.evaluate(expression):  # noqa: ASYNC110  the page has no event of ours
                await asyncio.sleep(0.02)

    async def click(self, selector: str) -> None:
        box = await self.evaluate(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)


@asynccontextmanager
async def page_of(client: Client, prompt: str) -> AsyncIterator[Page]:
    browser = client.binding("browser")
    address = re.search(r"http://\S+", prompt)
    assert address is not None
    async with connect_websocket(browser.url, max_size=None) as socket:
        page = Page(socket)
        await page.open(address[0])
        yield page


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.slow
async def test_an_agent_reads_a_code_in_the_tunnelled_browser(container: Callable[..., Container]) -> None:
    async with connect(container("browser").url) as client:
        prompt = (await client.start_task("read_code"))["prompt"]
        async with page_of(client, prompt) as page:
            shown = "document.querySelector('#code').textContent"
            assert await page.evaluate(shown) == "hidden"
            await page.click("#show")
            await page.until(f"{shown} !== 'hidden'")
            code = await page.evaluate(shown)
        assert (await client.grade({"answer": code}))["score"] == 1.0


@pytest.mark.docker
@pytest.mark.timeout(LONGEST_S)
@pytest.mark.slow
async def test_an_agent_sends_an_order_in_the_tunnelled_browser(container: Callable[..., Container]) -> None:
    wanted = {"item": "coffee", "quantity": 12, "customer": "Łukasz O'Neill"}
    async with connect(container("browser").url) as client:
        for quantity, score in ((11, 0.0), (12, 1.0)):
            prompt = (await client.start_task("order", wanted))["prompt"]
            async with page_of(client, prompt) as page:
                values = json.dumps(wanted | {"quantity": quantity})
                await page.evaluate(f"for (const [n, v] of Object.entries({values})) form.elements[n].value = v")
                await page.click("[name=terms]")
                await page.click("button")
                await page.until("document.querySelector('#reply').textContent === 'Thank you.'")
            assert (await client.grade({"answer": ""}))["score"] == score


def test_rows_of_every_template_name_the_scaffolded_environment() -> None:
    rows: list[Task] = [row for name in NAMES for row in collect_tasks(str(TEMPLATES / name / "tasks.py"))]
    assert {row.env for row in rows} == {"my-env"}
