"""The door to stdout and stderr: bytes as promised, whatever the streams are."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from hud_cli import output


def run(
    script: str, *, stdout: int | None = None, stderr: int | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", f"from hud_cli import output\n{script}"]
    return subprocess.run(command, env={**os.environ, **(env or {})}, timeout=20, stdout=stdout, stderr=stderr)


def test_data_is_utf8_and_unbuffered_in_an_ascii_locale() -> None:
    done = run(
        "output.data('\\xe4\\udcff\\u20ac')",
        stdout=subprocess.PIPE,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.stdout == "ä\\udcff€".encode()


def test_a_note_survives_an_ascii_terminal() -> None:
    done = run("output.note('grün…')", stderr=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    assert done.stderr == b"gr\\xfcn\\u2026\n"


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-11-26T18:41:01.057077Z", "2026-11-26T18:41:01Z"),
        ("2026-11-26T18:41:01.5+01:00", "2026-11-26T18:41:01+01:00"),
        ("2026-11-26T18:41:01Z", "2026-11-26T18:41:01Z"),
        ("", ""),
    ],
)
def test_a_time_is_shown_to_the_second(time: str, shown: str) -> None:
    assert output.moment(time) == shown


def test_what_others_print_goes_to_stderr_once_stdout_is_kept() -> None:
    done = run(
        "import os\noutput.keep_stdout()\noutput.keep_stdout()\n"
        "print('noise', flush=True)\nos.system('echo child')\noutput.data('data')",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert (done.stdout, done.stderr) == (b"data", b"noise\nchild\n")


def test_a_non_blocking_pipe_takes_all_of_it() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen(
        [sys.executable, "-c", "from hud_cli import output; output.data('x' * 1_000_000)"], stdout=writer
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert len(stream.read()) == 1_000_000
    assert process.wait() == 0


def test_a_closed_stdout_is_an_error_and_a_closed_stderr_is_not() -> None:
    script = "from hud_cli.main import main; import sys; sys.exit(main(['version']))"
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "{script}" >&-', sys.executable], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"Error: cannot write to standard output: Bad file descriptor\n")
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "{script}" 2>&-', sys.executable], stdout=subprocess.PIPE)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(environment: dict[str, str], colour: bool) -> None:
    master, slave = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    script = "from hud_cli import output; output.note(output.painted('word', 'red'))"
    subprocess.run([sys.executable, "-c", script], stderr=slave, env={**kept, **environment}, check=True)
    os.close(slave)
    text = os.read(master, 1000)
    os.close(master)
    assert (b"\033[31m" in text) is colour


def test_no_colour_without_a_terminal() -> None:
    done = run("output.note(output.painted('word', 'red'))", stderr=subprocess.PIPE, env={"TERM": "xterm"})
    assert done.stderr == b"word\n"
