"""Starting, stopping and failing to serve: rules CC-48 to CC-50 of the control-channel specification."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hud.environment.channel import Peer, ServedProcess, request, until

Spawn = Callable[..., ServedProcess]

JOURNAL = """
import os

def write(entry):
    with open(os.path.join(os.path.dirname(__file__), "journal"), "a") as file:
        file.write(entry + "\\n")

def listens():
    import socket
    found = False
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            copy = socket.socket(fileno=os.dup(int(descriptor)))
        except OSError:
            continue
        with copy:
            try:
                found = found or bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            except OSError:
                pass
    return found

env = Environment("journal")

@env.template()
async def waits(tag, where="answer"):
    import asyncio
    try:
        if where == "start":
            write(f"started {tag}")
            await asyncio.sleep(60)
        yield tag
        if where == "grade":
            write(f"grading {tag}")
            await asyncio.sleep(60)
        yield 1.0
    finally:
        await asyncio.sleep(0)
        write(f"closed {tag}")
"""


def journal(served: ServedProcess) -> list[str]:
    file = served.source.with_name("journal")
    return file.read_text().splitlines() if file.exists() else []


def waits(served: ServedProcess, tag: str, where: str) -> Peer:
    """Leave a task of the journal environment in a state: starting, grading, waiting for its answer, or parked."""
    peer = served.connect()
    if where == "start":
        peer.send(request("tasks.start", {"id": "waits", "args": {"tag": tag, "where": where}}))
        until(lambda: f"started {tag}" in journal(served))
        return peer
    peer.start("waits", {"tag": tag, "where": where})
    if where == "grade":
        peer.send(request("tasks.grade", {"answer": ""}, id=2))
        until(lambda: f"grading {tag}" in journal(served))
    if where == "parked":
        peer.close()
    return peer


def test_cc_48_hooks_finish_before_the_port_accepts(spawn: Spawn) -> None:
    served = spawn(
        JOURNAL
        + """
@env.initialize
async def first():
    import asyncio
    await asyncio.sleep(0.05)
    write(f"first {listens()}")

@env.initialize
async def second():
    write(f"second {listens()}")
"""
    )
    served.connect().session_id()
    assert journal(served) == ["first False", "second False"]


def test_cc_48_the_readiness_line_carries_the_real_port_and_is_alone_on_stdout(spawn: Spawn) -> None:
    served = spawn(
        """
        import os, subprocess, sys
        print("loading…", end="")
        os.write(1, b"raw")
        subprocess.run([sys.executable, "-c", "print('child', end='')"])
        env = Environment("noisy")

        @env.initialize
        async def hook():
            sys.stdout.write("no line end")

        @env.template()
        async def prints():
            print("from the template")
            yield "go"
            yield 1.0
        """
    )
    served.connect().start("prints")
    assert served.end(signal.SIGTERM) == 143
    assert re.fullmatch(rb"HUD_SERVE_PORT=\d+\n", served.output)
    assert "loading…" in served.stderr()
    assert "from the template" in served.stderr()


def test_cc_48_the_readiness_line_starts_at_column_0_where_both_streams_are_one(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "env.py").write_text(
        "from hud import Environment\nprint('loading', end='', flush=True)\nenv = Environment('e')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "hud.environment.server", tmp_path / "env.py", "--lifeline"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"loading\n"
        assert process.stdout.readline().startswith(b"HUD_SERVE_PORT=")
        process.stdin.close()
        assert process.wait(10) == 143


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_cc_49_a_signal_closes_every_task_and_then_runs_the_hooks_in_reverse(
    spawn: Spawn, number: signal.Signals, code: int
) -> None:
    served = spawn(
        JOURNAL
        + """
for name in ("first", "second", "third"):
    async def hook(name=name):
        write(f"shutdown {name}")
    env.shutdown(hook)
"""
    )
    peers = [waits(served, where, where) for where in ("start", "grade", "answer", "parked")]
    assert served.end(number) == code
    entries = [entry for entry in journal(served) if not entry.startswith(("started", "grading"))]
    assert sorted(entries[:4]) == ["closed answer", "closed grade", "closed parked", "closed start"]
    assert entries[4:] == ["shutdown third", "shutdown second", "shutdown first"]
    for peer in peers[:3]:
        assert b'"result"' not in peer.rest()


def test_cc_49_a_shutdown_hook_that_fails_is_logged_and_the_others_run(spawn: Spawn) -> None:
    served = spawn(
        JOURNAL
        + """
import asyncio

errors = [ValueError("broken hook"), SystemExit(7), KeyboardInterrupt(), asyncio.CancelledError()]
for error in errors:
    async def hook(error=error):
        write(f"shutdown {type(error).__name__}")
        raise error
    env.shutdown(hook)
"""
    )
    served.connect()
    assert served.end(signal.SIGTERM) == 143
    names = ["CancelledError", "KeyboardInterrupt", "SystemExit", "ValueError"]
    assert journal(served) == [f"shutdown {name}" for name in names]
    assert "broken hook" in served.stderr()


FAILURES = {
    "syntax error": ("def broken(:\n", 1, r"env\.py:2: SyntaxError: "),
    "raises": ("\n\nraise ValueError('no luck')\n", 1, r"env\.py:4: ValueError: no luck"),
    "exits": ("import sys\nsys.exit(0)\n", 1, r"env\.py:3: SystemExit: the source ends the process \(0\)"),
    "missing module": (
        "import no_such_module\n",
        1,
        r"env\.py:2: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "no environment": ("x = 1\n", 1, r"no Environment found in .*env\.py"),
    "several": (
        "a, b = Environment('a'), Environment('b')\n",
        2,
        r"multiple Environments in .*env\.py; select one by name",
    ),
    "bad annotation": (
        "env = Environment('e')\n@env.template()\nasync def t(x: object()):\n    yield 1\n",
        1,
        r"argument 'x' of template 't' has the type",
    ),
    "hook fails": (
        "env = Environment('e')\n@env.initialize\nasync def hook():\n    raise ValueError('no luck')\n",
        1,
        r"an initialize hook failed: ValueError: no luck \(.*env\.py:5\)",
    ),
    "hook exits": (
        "env = Environment('e')\n@env.initialize\nasync def hook():\n    raise SystemExit(0)\n",
        1,
        r"an initialize hook failed: SystemExit: 0 \(.*env\.py:5\)",
    ),
    "hook cancels": (
        "import asyncio as a\nenv = Environment('e')\n@env.initialize\nasync def hook():\n    raise a.CancelledError\n",
        1,
        r"an initialize hook failed: CancelledError \(.*env\.py:6\)",
    ),
}


@pytest.mark.parametrize(("source", "code", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_cc_50_what_cannot_be_served_says_why_and_is_not_announced(
    spawn: Spawn, source: str, code: int, message: str
) -> None:
    served = spawn(source)
    assert served.end() == code
    assert served.output == b""
    assert re.match("Error: .*" + message, served.stderr()), served.stderr()
    assert "Traceback" not in served.stderr()


def test_cc_50_a_missing_source_ends_with_1_and_an_unknown_environment_with_2(spawn: Spawn) -> None:
    named = spawn("env = Environment('a')", "--env", "x")
    assert named.end() == 2
    assert re.match(r"Error: no Environment named 'x' found in .*env\.py\nHint: it declares: a\n", named.stderr())
    missing = ServedProcess(named.source.with_name("nowhere.py"))
    assert missing.end() == 1
    assert re.match(r"Error: no such file or folder: .*nowhere\.py\n", missing.stderr())
    assert named.output == missing.output == b""


@pytest.mark.parametrize("options", [["--port", "x"], ["--port", "70000"], ["--port", "-1"], ["--nope"]], ids=" ".join)
def test_cc_50_a_wrong_option_ends_with_2(spawn: Spawn, options: list[str]) -> None:
    served = spawn("env = Environment('e')", *options)
    assert served.end() == 2
    assert served.output == b""


HOOKED = """
env = Environment("hooked")

@env.initialize
async def up():
    print("up")

@env.shutdown
async def down():
    print("down")
"""


def test_cc_50_a_port_in_use_ends_with_1_after_the_shutdown_hooks(spawn: Spawn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = spawn(HOOKED, "--port", str(port))
        assert served.end() == 1
    assert served.output == b""
    assert served.stderr().startswith("up\ndown\n")
    assert f"Error: port {port} on 127.0.0.1 is in use\nHint: " in served.stderr()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 70])
def test_cc_50_an_address_of_another_machine_ends_with_1(spawn: Spawn, host: str) -> None:
    served = spawn(HOOKED, "--host", host)
    assert served.end() == 1
    assert served.output == b""
    assert f"Error: {host} is no address of this machine\n" in served.stderr()
    assert served.stderr().startswith("up\ndown\n")


def test_cc_50_a_failing_hook_is_followed_by_the_shutdown_hooks(spawn: Spawn) -> None:
    served = spawn(
        HOOKED
        + """
@env.initialize
async def fails():
    raise RuntimeError("boom")

@env.initialize
async def never():
    print("never")
"""
    )
    assert served.end() == 1
    assert served.output == b""
    assert served.stderr().startswith("up\ndown\nError: an initialize hook failed: RuntimeError: boom (")


def test_a_signal_while_the_source_is_imported_ends_the_process(spawn: Spawn) -> None:
    served = spawn("import time, sys\nprint('importing', flush=True)\ntime.sleep(60)\n")
    until(lambda: "importing\n" in served.stderr())
    assert served.end(signal.SIGTERM) == 143
    assert served.stderr() == "importing\n"


@pytest.mark.parametrize("stubborn", [False, True], ids=["plain", "swallows its cancellation"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_signal_during_a_slow_hook_still_runs_the_shutdown_hooks(
    spawn: Spawn, number: signal.Signals, code: int, stubborn: bool
) -> None:
    served = spawn(
        HOOKED
        + f"""
@env.initialize
async def slow():
    import asyncio
    print("slow", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        if not {stubborn}:
            raise
        await asyncio.sleep(0.05)
"""
    )
    until(lambda: "slow" in served.stderr())
    assert served.end(number) == code
    assert served.stderr() == "up\nslow\ndown\n"
    assert served.output == b""


def test_a_second_signal_ends_the_process_at_once(spawn: Spawn) -> None:
    served = spawn(
        """
        env = Environment("slow")

        @env.shutdown
        async def slow():
            import asyncio
            print("shutting down", flush=True)
            await asyncio.sleep(60)
        """
    )
    served.connect()
    served.process.send_signal(signal.SIGTERM)
    until(lambda: "shutting down" in served.stderr())
    begun = time.monotonic()
    assert served.end(signal.SIGTERM) == 143
    assert time.monotonic() - begun < 5


def test_a_server_ends_with_its_lifeline(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "env.py").write_text("from hud import Environment\n" + HOOKED)
    process = subprocess.Popen(
        [sys.executable, "-m", "hud.environment.server", tmp_path / "env.py", "--lifeline"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("HUD_SERVE_PORT=")
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (143, "up\ndown\n")
