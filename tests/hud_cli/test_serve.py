"""`hud serve`: the readiness line, the streams, faults before it, and an orderly end after."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from hud.client.blocking import Connection
from hud.errors import NotAuthorisedError
from tests.hud_cli.conftest import Hud, Serve, Served, closed_port, read_until


def test_stdout_holds_the_readiness_line_and_nothing_else(served: Served) -> None:
    """CC-48. Prints of the environment and of what it starts go to stderr."""
    assert served.first_line == f"HUD_SERVE_PORT={served.port}\n".encode()
    code, out, err = served.stop()
    assert (code, out) == (143, b"")
    assert b"noise on import\n" in err
    assert b"noise of a child\n" in err


def test_the_banner_says_name_address_and_counts_after_the_port_is_bound(served: Served) -> None:
    _, _, err = served.stop()
    assert f"Serving probe on tcp://127.0.0.1:{served.port} (5 tasks, 0 capabilities)\n" in err.decode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_signals_end_it_in_order(served: Served, source: Path, number: int, code: int) -> None:
    """CC-49, exit codes."""
    ended, _, err = served.stop(number)
    assert ended == code
    assert err.endswith(b"Stopped.\n")


def test_shutdown_hooks_run_on_sigterm(serve: Serve, source: Path) -> None:
    with (source / "env.py").open("a") as file:
        file.write("\n@env.shutdown\nasync def bye():\n    open('ended', 'w').close()\n")
    assert serve().stop()[0] == 143
    assert (source / "ended").exists()


def test_a_port_in_use_is_one_line_and_a_way_out(hud: Hud, served: Served) -> None:
    """CC-50."""
    done = hud("serve", "env.py", "-p", str(served.port))
    assert (done.code, done.out) == (1, "")
    assert f"Error: port {served.port} on 127.0.0.1 is in use\nHint: stop what listens there" in done.err


def test_a_folder_without_an_environment_is_named(hud: Hud, tmp_path: Path) -> None:
    done = hud("serve", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "Error: no environment source 'env': neither a file env.py nor a module of that name\nHint: " in done.err


def test_several_environments_ask_for_a_name(hud: Hud, source: Path) -> None:
    (source / "env.py").write_text("from hud import Environment\none = Environment('one')\ntwo = Environment('two')\n")
    done = hud("serve", "env.py", "-p", "0")
    assert (done.code, done.out) == (2, "")
    assert (
        "Usage: hud serve [OPTIONS] [TARGET]\nError: multiple Environments in env.py; select one by name\n" in done.err
    )


def test_one_of_several_environments_is_chosen_by_name(serve: Serve, source: Path) -> None:
    (source / "env.py").write_text("from hud import Environment\none = Environment('one')\ntwo = Environment('two')\n")
    served = serve("env.py:two")
    with Connection.open(served.url, timeout_s=5) as channel:
        assert channel.hello["env"]["name"] == "two"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", ":2: SyntaxError: invalid syntax"),
        ("\n\nraise RuntimeError('boom')\n", ":3: RuntimeError: boom"),
        ("import nowhere_to_be_found\n", ":1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ],
)
def test_a_source_that_does_not_load_is_told_by_file_and_line(hud: Hud, source: Path, text: str, message: str) -> None:
    (source / "env.py").write_text(text)
    done = hud("serve", "env.py", "-p", "0")
    assert (done.code, done.out) == (1, "")
    assert f"Error: {source / 'env.py'}{message}\n" in done.err


def test_a_failing_initialize_hook_is_told_by_file_and_line(hud: Hud, source: Path) -> None:
    with (source / "env.py").open("a") as file:
        file.write("\n@env.initialize\nasync def begin():\n    raise OSError('no display')\n")
    done = hud("serve", "env.py", "-p", "0")
    assert (done.code, done.out) == (1, "")
    line = len((source / "env.py").read_text().splitlines())
    assert f"an initialize hook failed: OSError: no display ({source / 'env.py'}:{line})" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arg", "bad"], "--arg expects key=value, got 'bad'"),
        (["-p", "65536"], "--port is between 0 and 65535, got 65536"),
        (["-p", "many"], "--port is an integer, got 'many'"),
        (["--parked-ttl", "0"], "--parked-ttl is a positive number of seconds, got 0"),
        (["env.py", "--arg", "a=1"], "arguments are for a factory, and env.py is a source path"),
    ],
)
def test_wrong_options_exit_with_2_before_anything_is_served(hud: Hud, words: list[str], message: str) -> None:
    done = hud("serve", *words)
    assert (done.code, done.out) == (2, "")
    assert f"Error: {message}\n" in done.err


def test_an_error_is_json_when_asked(hud: Hud) -> None:
    assert json.loads(hud("serve", "gone.py", "--json").out)["error"] == "not_found"


def test_a_factory_takes_its_arguments(serve: Serve, source: Path) -> None:
    (source / "package").mkdir()
    (source / "package" / "made.py").write_text(
        "from hud import Environment\ndef make(name, size='1'):\n    return Environment(name + size)\n"
    )
    served = serve("package.made:make", "--arg", "name=big", "--arg", "size=9")
    with Connection.open(served.url, timeout_s=5) as channel:
        assert channel.hello["env"]["name"] == "big9"


def test_the_default_port_is_a_variable_that_task_reads_too(hud: Hud, serve: Serve) -> None:
    port = str(closed_port())
    served = serve("env.py", "-p", port)
    assert served.port == int(port)
    done = hud("task", "start", "echo", HUD_SERVE_PORT=port)
    assert done.out == "say\n"
    refused = hud("serve", HUD_SERVE_PORT="http")
    assert (refused.code, refused.err.splitlines()[-1]) == (2, "Error: $HUD_SERVE_PORT is a port, got 'http'")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_token_keeps_others_out(hud: Hud, serve: Serve, how: str) -> None:
    served = serve("env.py", "--token", "s3cret") if how == "option" else serve("env.py", HUD_CHANNEL_TOKEN="s3cret")
    with pytest.raises(NotAuthorisedError):
        Connection.open(served.url, timeout_s=5)
    refused = hud("task", "start", "echo", "--url", served.url)
    assert (refused.code, refused.out) == (4, "")
    assert hud("task", "start", "echo", "--url", served.url, "--token", "s3cret").out == "say\n"
    assert hud("task", "start", "echo", "--url", served.url, HUD_CHANNEL_TOKEN="s3cret").out == "say\n"


def test_what_a_template_starts_does_not_inherit_the_token(hud: Hud, serve: Serve, source: Path) -> None:
    with (source / "env.py").open("a") as file:
        file.write(
            "\n@env.template()\nasync def peek():\n    import subprocess\n"
            "    shell = subprocess.run('echo token: $HUD_CHANNEL_TOKEN', shell=True, capture_output=True, text=True)\n"
            "    yield shell.stdout.strip()\n    yield 1\n"
        )
    served = serve("env.py", HUD_CHANNEL_TOKEN="secret")
    done = hud("task", "start", "peek", "--url", served.url, "--token", "secret")
    assert (done.code, done.out) == (0, "token:\n")


def test_a_wide_open_channel_is_mentioned_when_verbose(serve: Serve) -> None:
    quiet = serve("env.py", "--host", "0.0.0.0").stop()[2]
    assert b"token" not in quiet
    assert b"--token asks them for a token" in serve("env.py", "--host", "0.0.0.0", "-v").stop()[2]


def test_an_edit_is_served_to_new_sessions_and_not_under_one(serve: Serve, source: Path) -> None:
    served = serve("env.py", "--watch")
    assert served.process.stderr is not None
    with Connection.open(served.url, timeout_s=5) as before:
        assert before.call("tasks.start", {"id": "add", "args": {"a": 1}})["prompt"] == "What is 1+2?"
        time.sleep(0.5)  # the watcher begins with the files as they are
        text = (source / "env.py").read_text().replace("What is {a}+{b}?", "Add {a} and {b}.")
        (source / "env.py").write_text(text)
        read_until(served.process.stderr.fileno(), b"new sessions get the new version")
        assert before.call("tasks.grade", {"answer": "3"})["score"] == 1.0
        with Connection.open(served.url, timeout_s=5) as after:
            assert after.call("tasks.start", {"id": "add", "args": {"a": 1}})["prompt"] == "Add 1 and 2."


def test_an_edit_that_does_not_load_leaves_the_last_version(serve: Serve, source: Path) -> None:
    served = serve("env.py", "--watch")
    assert served.process.stderr is not None
    time.sleep(0.5)
    (source / "env.py").write_text("def f(:\n")
    read_until(served.process.stderr.fileno(), b"the last version is served on")
    with Connection.open(served.url, timeout_s=5) as channel:
        assert channel.call("tasks.start", {"id": "echo", "args": {}})["prompt"] == "say"


def test_a_parked_task_expires(serve: Serve, hud: Hud) -> None:
    served = serve("env.py", "--parked-ttl", "0.2")
    assert hud("task", "start", "add", "--args", '{"a": 1}', "--url", served.url).code == 0
    time.sleep(0.6)
    with Connection.open(served.url, timeout_s=5) as channel, pytest.raises(Exception, match="no task in progress"):
        channel.call("tasks.grade", {"answer": "3"})


def test_it_serves_without_standard_streams(source: Path, variables: dict[str, str]) -> None:
    """A supervisor may close all three; the port is then all there is."""
    port = closed_port()
    child = os.fork()
    if child == 0:
        os.chdir(source)
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        import sys

        os.execve(sys.executable, [sys.executable, "-m", "hud_cli", "serve", "env.py", "-p", str(port)], variables)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with Connection.open(f"127.0.0.1:{port}", timeout_s=5) as channel:
            assert channel.hello["env"]["name"] == "probe"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
