"""`hud task`: what is printed, what is asked of the environment, and which task a name means."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hud.client.blocking import Connection
from tests.hud_cli.conftest import Hud, Serve, Served, closed_port, read_until


@contextmanager
def recorded(served: Served) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A proxy to a served environment that keeps the requests; gives its address and the requests."""
    requests: list[dict[str, object]] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", served.port))
            with near, far, near.makefile("rb") as asked, far.makefile("rb") as said:
                for line in asked:
                    requests.append(json.loads(line))
                    far.sendall(line)
                    near.sendall(said.readline())

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        # Closing alone does not wake a thread that waits in accept().
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


# list


def test_list_prints_slug_id_and_arguments(hud: Hud) -> None:
    done = hud("task", "list", "-s", "tasks.py")
    assert done.code == 0
    first, _, last = done.out.splitlines()
    slug, rest = first.split("\t")
    assert slug.startswith("add-")
    assert rest == 'add {"a": 4}'
    assert last == "echo\techo"


def test_list_prints_slugs_alone_or_json(hud: Hud) -> None:
    assert hud("task", "list", "-q").out.splitlines()[-1] == "echo"
    rows = json.loads(hud("task", "list", "--json").out)
    assert rows[0]["args"] == {"a": 4}
    assert [row["id"] for row in rows] == ["add", "add", "echo"]


def test_list_reads_the_source_and_never_the_channel(hud: Hud, tmp_path: Path, served: Served) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = hud("task", "list", cwd=empty, HUD_SERVE_PORT=str(served.port))
    assert (done.code, done.out) == (0, "")
    assert done.err == f"No tasks in {empty}\n"


def test_list_keeps_what_the_source_prints_off_stdout(hud: Hud) -> None:
    done = hud("task", "list", "-q")
    assert "noise on import" in done.err
    assert "noise of a child" in done.err
    assert "noise" not in done.out


# start


def test_start_prints_the_prompt_and_a_line_feed(hud: Hud, served: Served) -> None:
    """CC-58."""
    done = hud("task", "start", "add", "--args", '{"a": 4}', "--url", served.url)
    assert (done.code, done.out, done.err) == (0, "What is 4+2?\n", "")


def test_start_prints_a_structured_prompt_as_json(hud: Hud, served: Served) -> None:
    """CC-58: spaced separators, ASCII escapes."""
    done = hud("task", "start", "chat", "-u", served.url)
    assert done.out == '[{"role": "user", "content": "gr\\u00fc\\u00dfe"}]\n'


def test_start_sends_hello_start_and_disconnects(hud: Hud, served: Served) -> None:
    """CC-57, protocol section 10: nothing else is sent."""
    with recorded(served) as (address, requests):
        assert hud("task", "start", "add", "-a", '{"a": 4}', "-u", address).code == 0
    assert [(item["method"], item["params"]) for item in requests] == [
        ("hello", {}),
        ("tasks.start", {"id": "add", "args": {"a": 4}}),
    ]


def test_json_prints_the_whole_frame_with_an_indent(hud: Hud, served: Served) -> None:
    """CC-60."""
    done = hud("task", "start", "echo", "--url", served.url, "--json")
    assert done.out == json.dumps({"prompt": "say", "extra": [1, 2]}, indent=2) + "\n"


def test_out_writes_the_whole_frame_and_nothing_to_stdout(hud: Hud, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "frame.json"
    done = hud("task", "start", "echo", "--url", served.url, "--out", str(path))
    assert (done.code, done.out) == (0, "")
    assert path.read_text() == json.dumps({"prompt": "say", "extra": [1, 2]}, indent=2)
    assert [item.name for item in path.parent.iterdir()] == ["frame.json"]


def test_out_that_cannot_be_written_is_told(hud: Hud, served: Served, tmp_path: Path) -> None:
    done = hud("task", "start", "echo", "--url", served.url, "--out", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert f"Error: cannot write {tmp_path}: Is a directory\n" in done.err
    done = hud("task", "start", "echo", "--url", served.url, "--out", "/dev/full")
    assert (done.code, done.err) == (1, "Error: cannot write /dev/full: No space left on device\n")


def test_a_prompt_of_ten_megabytes_comes_whole(hud: Hud, served: Served) -> None:
    done = hud("task", "start", "big", "--url", served.url)
    assert done.out == "x" * 10_000_000 + "\n"


@pytest.mark.parametrize(
    "extra", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_a_lone_surrogate_is_escaped_in_any_locale(hud: Hud, served: Served, extra: dict[str, str]) -> None:
    done = hud("task", "start", "odd", "--url", served.url, **extra)
    assert (done.code, done.out) == (0, "lone \\ud800 surrogate, umlaut ä\n")


def test_a_full_disk_behind_stdout_is_told(source: Path, served: Served, variables: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hud_cli", "task", "start", "echo", "--url", served.url],
            stdout=full, stderr=subprocess.PIPE, env=variables, cwd=source,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"Error: cannot write to standard output: No space left on device\n")


# grade


def test_grade_prints_the_score(hud: Hud, served: Served) -> None:
    """CC-59."""
    hud("task", "start", "add", "-a", '{"a": 4}', "-u", served.url)
    done = hud("task", "grade", "add", "--answer", "6", "-u", served.url)
    assert (done.code, done.out, done.err) == (0, "1.0\n", "")


def test_grade_starts_the_task_only_when_none_is_parked(hud: Hud, served: Served) -> None:
    """CC-59; transcripts T3 and T4, with the id that keeps others' parked tasks out of it."""
    with recorded(served) as (address, requests):
        assert hud("task", "grade", "add", "-a", '{"a": 4}', "--answer", "6", "-u", address).out == "1.0\n"
    assert [(item["method"], item["params"]) for item in requests] == [
        ("hello", {}),
        ("tasks.grade", {"answer": "6", "id": "add", "args": {"a": 4}}),
        ("tasks.start", {"id": "add", "args": {"a": 4}}),
        ("tasks.grade", {"answer": "6"}),
    ]


def test_grade_never_grades_a_parked_run_of_another_task(hud: Hud, served: Served) -> None:
    hud("task", "start", "add", "-a", '{"a": 4}', "-u", served.url)
    assert hud("task", "grade", "echo", "--answer", "6", "-u", served.url).out == "1\n"
    assert hud("task", "grade", "add", "--answer", "6", "-u", served.url).out == "1.0\n"


def test_two_parked_runs_of_one_task_are_told_apart_by_their_arguments(hud: Hud, served: Served) -> None:
    hud("task", "start", "add", "-a", '{"a": 4}', "-u", served.url)
    hud("task", "start", "add", "-a", '{"a": 5}', "-u", served.url)
    ambiguous = hud("task", "grade", "add", "--answer", "6", "-u", served.url)
    assert (ambiguous.code, ambiguous.out) == (1, "")
    assert "2 parked sessions" in ambiguous.err
    assert "Hint: `hud task run` grades a run of its own; --args tells runs with other arguments apart" in ambiguous.err
    assert hud("task", "grade", "add", "-a", '{"a": 5}', "--answer", "7", "-u", served.url).out == "1.0\n"


def test_grade_json_holds_the_whole_evaluation(hud: Hud, served: Served) -> None:
    done = hud("task", "grade", "echo", "--answer", "abc", "-u", served.url, "--json")
    assert json.loads(done.out) == {"score": 1, "length": 3, "text": "abc", "bytes": 3}


def test_an_answer_file_is_sent_byte_for_byte(hud: Hud, served: Served, source: Path) -> None:
    (source / "answer").write_bytes("\ufeffzwölf\r\n\x00\n".encode())
    for words, stdin in ((["answer"], b""), (["-"], (source / "answer").read_bytes())):
        done = hud("task", "grade", "echo", "--answer-file", *words, "-u", served.url, "--json", stdin=stdin)
        assert json.loads(done.out)["text"] == "\ufeffzwölf\r\n\x00\n"


def test_an_answer_of_five_megabytes_passes(hud: Hud, served: Served) -> None:
    text = "grün" * 1_000_000
    done = hud("task", "grade", "echo", "--answer-file", "-", "-u", served.url, "--json", stdin=text.encode())
    assert json.loads(done.out)["bytes"] == 5_000_000


def test_an_answer_larger_than_a_frame_is_refused_before_it_is_sent(hud: Hud, served: Served) -> None:
    done = hud("task", "grade", "echo", "--answer-file", "-", "-u", served.url, stdin=b"x" * (17 << 20))
    assert (done.code, done.out) == (2, "")
    assert "a frame holds 16777216" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--answer-file", "gone"], "cannot read gone: No such file or directory"),
        (["--answer-file", "latin"], "latin is not UTF-8 text: byte 0xe4 at offset 2"),
        (["--answer", "a", "--answer-file", "latin"], "--answer and --answer-file exclude each other"),
        (["--args", "{x"], "--args must be valid JSON: Expecting property name enclosed in double quotes"),
        (["--args", "[1]"], "--args must be a JSON object, got an array"),
        (["--args", "null"], "--args must be a JSON object, got null"),
        (["--args", '{"a": NaN}'], "--args must be valid JSON: NaN is no JSON value"),
        (["--timeout", "0"], "--timeout is a positive number of seconds, got 0"),
        (["--timeout", "nan"], "--timeout is a positive number of seconds, got nan"),
        (["--container", "x", "--source", "y"], "--image and --container take no --source or --url"),
    ],
)
def test_bad_input_exits_with_2_without_connecting(hud: Hud, source: Path, words: list[str], message: str) -> None:
    """CC-62."""
    (source / "latin").write_bytes(b"gr\xe4")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = [] if "--container" in words else ["--url", f"127.0.0.1:{listener.getsockname()[1]}"]
        done = hud("task", "grade", "add", *url, *words)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert (done.code, done.out) == (2, "")
    assert f"Error: {message}" in done.err


# run


def test_run_starts_and_grades_whatever_is_parked(hud: Hud, served: Served) -> None:
    hud("task", "start", "add", "-a", '{"a": 1}', "-u", served.url)
    assert hud("task", "run", "add", "-a", '{"a": 4}', "--answer", "6", "-u", served.url).out == "1.0\n"
    assert (
        hud("task", "grade", "add", "--answer", "3", "-u", served.url).out == "1.0\n"
    )  # the parked one is still there


# which task, where


def test_from_a_source_a_row_is_named_by_slug_index_or_id(hud: Hud) -> None:
    slug = hud("task", "list", "-q").out.splitlines()[1]
    for name, prompt in ((slug, "What is 5+5?"), ("0", "What is 4+2?"), ("echo", "say"), ("chat", '[{"role"')):
        done = hud("task", "start", name, "-s", ".")
        assert done.code == 0, done.err
        assert done.out.startswith(prompt)


def test_args_replace_the_rows(hud: Hud) -> None:
    assert hud("task", "start", "0", "--args", '{"a": 9}').out == "What is 9+2?\n"


def test_an_id_of_several_rows_is_ambiguous(hud: Hud) -> None:
    done = hud("task", "start", "add")
    assert (done.code, done.out) == (2, "")
    assert "Error: 2 tasks have the id 'add'\nHint: name one by its slug: add-" in done.err


def test_a_source_without_rows_offers_its_templates(hud: Hud, source: Path) -> None:
    (source / "tasks.py").unlink()
    assert "chat\tchat\n" in hud("task", "list").out
    assert hud("task", "start", "add", "--args", '{"a": 1}').out == "What is 1+2?\n"


def test_a_row_of_a_json_file_is_served_from_its_folder(hud: Hud, source: Path) -> None:
    (source / "rows.jsonl").write_text('{"env": "probe", "id": "add", "args": {"a": 7}, "slug": "seven"}\n')
    assert hud("task", "run", "seven", "-s", "rows.jsonl", "--answer", "9").out == "1.0\n"


def test_rows_of_two_environments_are_served_by_their_own(hud: Hud, source: Path) -> None:
    text = "from hud import Environment\n"
    for name in ("one", "two"):
        text += f"{name} = Environment('{name}')\n@{name}.template(id='who')\n"
        text += f"async def who_{name}():\n    yield '{name}'\n    yield 1\n"
    (source / "env.py").write_text(text)
    (source / "tasks.py").write_text(
        "from env import who_one, who_two\na = who_one()\na.slug = 'a'\nb = who_two()\nb.slug = 'b'\n"
    )
    assert [hud("task", "start", slug).out for slug in ("a", "b")] == ["one\n", "two\n"]


def test_a_spawned_start_says_that_the_task_is_gone(hud: Hud) -> None:
    done = hud("task", "start", "0")
    assert done.out == "What is 4+2?\n"
    assert "The task ended with this command; to grade an answer: hud task run, or hud serve first.\n" in done.err


def test_without_options_it_attaches_to_what_is_served_and_says_so(hud: Hud, served: Served) -> None:
    """Design, decision 16."""
    port = str(served.port)
    done = hud("task", "start", "echo", HUD_SERVE_PORT=port)
    assert done.out == "say\n"
    assert done.err == f"Attached to probe at tcp://127.0.0.1:{port}; --source . starts the one at hand.\n"
    assert hud("task", "grade", "echo", "--answer", "", HUD_SERVE_PORT=port).out == "1\n"


def test_attached_a_slug_of_the_folder_at_hand_is_its_row(hud: Hud, served: Served) -> None:
    port = str(served.port)
    slug = hud("task", "list", "-q").out.splitlines()[1]
    assert hud("task", "start", slug, HUD_SERVE_PORT=port).out == "What is 5+5?\n"
    hud("task", "start", "add", "-a", '{"a": 1}', HUD_SERVE_PORT=port)
    assert hud("task", "grade", slug, "--answer", "10", HUD_SERVE_PORT=port).out == "1.0\n"


def test_attached_an_id_without_its_arguments_takes_them_from_the_only_row(
    hud: Hud, served: Served, source: Path
) -> None:
    port = str(served.port)
    done = hud("task", "start", "add", HUD_SERVE_PORT=port)
    assert (done.code, done.out) == (2, "")
    assert "Error: 'add' needs arguments, and 2 tasks have some\nHint: name one: add-" in done.err
    (source / "tasks.py").write_text("from env import add\ntasks = [add(a=4)]\n")
    assert hud("task", "start", "add", HUD_SERVE_PORT=port).out == "What is 4+2?\n"
    assert hud("task", "grade", "add", "--answer", "6", HUD_SERVE_PORT=port).out == "1.0\n"
    assert hud("task", "grade", "add", "--answer", "6", HUD_SERVE_PORT=port).out == "1.0\n"  # nothing is parked now


def test_attached_a_broken_source_at_hand_does_not_matter_for_an_id(hud: Hud, served: Served, source: Path) -> None:
    (source / "tasks.py").write_text("import gone_for_good\n")
    (source / "env.py").write_text("def f(:\n")
    assert hud("task", "start", "echo", HUD_SERVE_PORT=str(served.port)).out == "say\n"
    done = hud("task", "start", "ecko", HUD_SERVE_PORT=str(served.port))
    assert done.err.endswith("Error: unknown task: 'ecko'\nHint: did you mean echo?\n")


def test_an_unknown_task_suggests_close_ones(hud: Hud, served: Served) -> None:
    """CC-61."""
    for words in (["-u", served.url], ["-s", "."]):
        done = hud("task", "start", "ecco", *words)
        assert (done.code, done.out) == (1, "")
        assert done.err.endswith("Error: unknown task: 'ecco'\nHint: did you mean echo?\n")
    listed = hud("task", "start", "zzz", "-u", served.url)
    assert listed.err.endswith("Hint: there are: add, echo, chat, big, odd\n")


def test_with_url_and_source_the_row_decides(hud: Hud, served: Served) -> None:
    assert hud("task", "start", "1", "-s", "tasks.py", "-u", served.url).out == "What is 5+5?\n"
    done = hud("task", "start", "1", "-u", served.url)
    assert "Error: unknown task: '1'" in done.err


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:{}", "127.0.0.1:{}", "localhost:{}"])
def test_an_address_may_be_short(hud: Hud, served: Served, form: str) -> None:
    assert hud("task", "start", "echo", "--url", form.format(served.port)).code == 0


def test_an_address_that_is_none_is_a_usage_error(hud: Hud) -> None:
    done = hud("task", "start", "echo", "--url", "http://127.0.0.1:1")
    assert (done.code, done.out) == (2, "")
    assert "Error: 'http://127.0.0.1:1' is no control-channel address\nHint: give tcp://HOST:PORT\n" in done.err


# nobody, or nobody sensible, answers


def test_a_dead_address_is_given_up_in_the_time_given(hud: Hud) -> None:
    port = closed_port()
    begun = time.monotonic()
    done = hud("task", "start", "echo", "--url", f"127.0.0.1:{port}", "--timeout", "1.5")
    assert 1.4 < time.monotonic() - begun < 5
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        f"Waiting for an environment at tcp://127.0.0.1:{port}, up to 1.5 s…\n"
        f"Error: no environment answers at tcp://127.0.0.1:{port} within 1.5 s: Connection refused\n"
        "Hint: start one with `hud serve`, or give its address with --url\n"
    )
    report = json.loads(hud("task", "start", "echo", "--url", f"127.0.0.1:{port}", "--timeout", "0.1", "--json").out)
    assert report["error"] == "timeout"


def test_an_environment_that_comes_up_late_is_waited_for(hud: Hud, serve: Serve) -> None:
    """CC-53."""
    port = closed_port()
    timer = threading.Timer(1.2, serve, args=("env.py", "-p", str(port)))
    timer.start()
    try:
        assert hud("task", "start", "echo", "--url", f"127.0.0.1:{port}").out == "say\n"
    finally:
        timer.join()


def test_a_stranger_on_the_default_port_is_told_from_an_environment(hud: Hud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts by its backlog, says nothing
        port = str(listener.getsockname()[1])
        done = hud("task", "start", "echo", "--timeout", "1.2", HUD_SERVE_PORT=port)
    assert (done.code, done.out) == (3, "")
    assert "Hint: it is no HUD environment? --source . does not attach to it\n" in done.err


def test_garbage_from_a_server_is_a_failure_and_no_traceback(hud: Hud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                peer.recv(4096)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        done = hud("task", "start", "echo", "--url", f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join(5)
    assert (done.code, done.out) == (1, "")
    assert "the peer does not speak the protocol" in done.err


def test_a_server_that_dies_mid_grade_is_told(hud: Hud, serve: Serve, source: Path) -> None:
    with (source / "env.py").open("a") as file:
        file.write("\n@env.template()\nasync def dies():\n    yield 'p'\n    os.kill(os.getpid(), 9)\n    yield 1\n")
    done = hud("task", "run", "dies", "--answer", "", "--url", serve().url)
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: tasks.grade: the environment closed the connection: it may have stopped\n"


def test_a_failing_template_is_an_error_with_its_text(hud: Hud, served: Served) -> None:
    done = hud("task", "start", "add", "--args", '{"a": "x"}', "--url", served.url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: hud rpc error -32000: task 'add': bad args ['a']: ")


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, b"Interrupted.\n"), (signal.SIGTERM, 143, b"")]
)
def test_a_signal_while_a_reply_is_awaited(
    serve: Serve, source: Path, variables: dict[str, str], number: int, code: int, said: bytes
) -> None:
    """CC-61. The environment stays as it is: the started task is parked there."""
    with (source / "env.py").open("a") as file:
        file.write("\nimport asyncio\n@env.template()\nasync def waits():\n    sys.stderr.write('started\\n')\n")
        file.write("    sys.stderr.flush()\n    await asyncio.sleep(1)\n    yield 'p'\n    yield 1.0\n")
    served = serve()
    assert served.process.stderr is not None
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "task", "start", "waits", "--url", served.url],
        cwd=source, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    read_until(served.process.stderr.fileno(), b"started\n")
    process.send_signal(number)
    assert process.communicate(timeout=10) == (b"", said)
    assert process.returncode == code


# the served child


@pytest.fixture
def slow(source: Path) -> Path:
    """A source whose only task waits for a minute when it starts."""
    (source / "tasks.py").unlink()
    (source / "env.py").write_text(
        "import asyncio, os, sys\nfrom hud import Environment\nenv = Environment('slow')\n"
        "@env.template()\nasync def wait():\n    try:\n"
        "        sys.stderr.write(f'started {os.getpid()}\\n'); sys.stderr.flush()\n"
        "        await asyncio.sleep(60)\n        yield 'p'\n        yield 1.0\n"
        "    finally:\n        open('cleaned', 'w').close()\n"
    )
    return source


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_the_served_child_ends_with_the_command(slow: Path, variables: dict[str, str], number: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "task", "start", "wait"],
        cwd=slow, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    child = int(read_until(process.stderr.fileno(), b"\n").split()[1])
    process.send_signal(number)
    process.communicate(timeout=15)
    assert process.returncode == code
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.05)
    assert (slow / "cleaned").exists()


def test_a_child_that_is_never_ready_is_given_up(hud: Hud, source: Path) -> None:
    with (source / "env.py").open("a") as file:
        file.write("\nimport asyncio\n@env.initialize\nasync def wait():\n    await asyncio.sleep(60)\n")
    done = hud("task", "start", "0", "--timeout", "1.5")
    assert (done.code, done.out) == (3, "")
    assert "Waiting for the environment to start…\n" in done.err
    assert done.err.endswith(
        "Error: the environment was not ready within 1.5 s\nHint: --timeout SECONDS gives it more\n"
    )


def test_a_child_that_fails_to_start_says_why(hud: Hud, source: Path) -> None:
    with (source / "env.py").open("a") as file:
        file.write("\n@env.initialize\nasync def fail():\n    raise OSError('no display')\n")
    done = hud("task", "start", "0")
    assert (done.code, done.out) == (1, "")
    assert "an initialize hook failed: OSError: no display" in done.err
    assert "Error: the environment ended with exit code 1 before it was ready\n" in done.err


def test_the_childs_channel_asks_for_a_token_of_its_own(slow: Path, variables: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "task", "start", "wait"],
        cwd=slow, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        child = int(read_until(process.stderr.fileno(), b"\n").split()[1])
        port = listening_port(child)
        with pytest.raises(Exception, match="token"):
            Connection.open(f"127.0.0.1:{port}", timeout_s=2)
    finally:
        process.terminate()
        process.communicate(timeout=15)


def listening_port(pid: int) -> int:
    """Find the port that a process listens on, from /proc."""
    sockets = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if "socket:" in str(link.readlink())}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            return int(fields[1].rpartition(":")[2], 16)
    raise AssertionError(f"process {pid} listens on nothing")
