"""Images are built by BuildKit: secrets stay out of them, limits hold, and what it prints becomes steps and lines."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hud.errors import HudError, NotFoundError, UsageError
from hud_platform.builds import builder
from hud_platform.builds.build_log import BuildLog, Logs, LogWriter
from hud_platform.builds.build_progress import Lines, Progress, ProgressLine
from hud_platform.builds.builder import BuildPlan, BuiltImage
from hud_platform.builds.masking import Masker
from hud_platform.builds.processes import running
from tests.bench import base_image, require_docker

SECRET = "s3cret-of-the-build/+="


def parsed(*lines: str) -> list[ProgressLine]:
    progress = Progress()
    return [said for line in lines if (said := progress.read(line)) is not None]


def test_plain_progress_becomes_steps_and_their_lines() -> None:
    said = parsed(
        "#5 [2/4] RUN make",
        "#5 sha256:" + "a" * 64,
        "#5 0.123 compiling",
        "#6 [3/4] COPY . .",
        "#6 CACHED",
        "",
        "#5 [2/4] RUN make",
        "#5 ...",
        "#5 11.5 done in 3 s",
        "#5 DONE 12.0s",
    )
    assert [(line.step, line.text, line.kind) for line in said] == [
        ("[2/4] RUN make", "[2/4] RUN make", "begin"),
        ("[2/4] RUN make", "compiling", "output"),
        ("[3/4] COPY . .", "[3/4] COPY . .", "begin"),
        ("[3/4] COPY . .", "CACHED", "end"),
        ("[2/4] RUN make", "done in 3 s", "output"),
        ("[2/4] RUN make", "DONE 12.0s", "end"),
    ]


def test_a_failed_step_is_known_with_its_last_lines() -> None:
    progress = Progress()
    for line in ("#7 [2/2] RUN false", *(f"#7 0.1 line {n}" for n in range(50)), "#7 ERROR: exit code: 1", "------"):
        progress.read(line)
    assert (progress.failed_step, progress.error) == ("[2/2] RUN false", "exit code: 1")
    assert progress.last_lines(progress.failed_step)[-1] == "line 49"
    assert len(progress.last_lines(progress.failed_step)) < 20


def test_a_step_is_named_on_one_line_and_cut_short_where_it_is_long() -> None:
    begun, again = parsed("#5 [2/4] RUN make     && make  install", "#5 [2/4] RUN make && make install", "#5 CACHED")
    assert (begun.step, begun.text) == ("[2/4] RUN make && make install",) * 2
    assert (again.step, again.text) == (begun.step, "CACHED")
    begun, ended = parsed("#5 [2/4] RUN " + "x" * 500, "#5 DONE 1.0s")
    assert begun.step == begun.text == ended.step
    assert begun.text.endswith("x…")
    assert len(begun.text) == 200


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: executor failed running [/bin/sh -c echo ]: no; exit 3]: exit code: 3",
        'ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 3',
        "ERROR: exit code: 3",
    ],
)
def test_an_error_does_not_repeat_the_command(said: str) -> None:
    progress = Progress()
    progress.read("#7 [2/2] RUN false")
    assert progress.read(f"#7 {said}") == ProgressLine("[2/2] RUN false", "ERROR: exit code: 3", "end")
    assert progress.error == "exit code: 3"


def test_a_carriage_return_begins_its_line_again() -> None:
    assert Lines(Masker()).feed(b"#5 1.0 10%\r#5 1.0 50%\r#5 1.0 100%\r\n") == ["#5 1.0 100%"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    return place


def test_dockerfile_hud_comes_first(folder: Path) -> None:
    (folder / "Dockerfile").touch()
    assert builder.dockerfile_of(folder).name == "Dockerfile"
    (folder / "Dockerfile.hud").touch()
    assert builder.dockerfile_of(folder).name == "Dockerfile.hud"


def test_a_context_without_a_dockerfile_is_told(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no Dockerfile\.hud and no Dockerfile"):
        builder.dockerfile_of(folder)


@pytest.mark.parametrize("name", ["Dockerfile.hud", ".dockerignore", "Dockerfile.hud.dockerignore"])
def test_pa_17_no_file_of_the_platforms_machine_is_read(folder: Path, name: str) -> None:
    (folder / "Dockerfile.hud").touch()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match=f"{name} is a link that leads out of the context"):
        builder.dockerfile_of(folder)


async def test_a_gigabyte_of_log_is_read_to_its_end_and_its_middle_left_out(tmp_path: Path) -> None:
    log = Logs(tmp_path).of(uuid.uuid4())
    printing = "echo '#5 [1/1] RUN loud'; yes '#5 0.1 {}' | head -c {}; echo '#5 DONE 9.9s'"
    megabytes = int(os.environ.get("HUD_TEST_LOG_MB", "100"))
    with LogWriter(log, limit_bytes=2**20) as writer:
        async with running(["sh", "-c", printing.format("x" * 90, megabytes * 2**20)]) as child:
            await builder.follow(child, writer, Masker([SECRET]))
    shown = [json.loads(line) for line in log.path.read_bytes().splitlines()]
    assert log.path.stat().st_size < 2 * 2**20
    assert any("bytes of the log were left out here" in frame["message"] for frame in shown)
    assert any(frame["message"].endswith("DONE 9.9s") for frame in shown)


def test_what_was_started_ends_with_the_one_who_started_it() -> None:
    """A server that is killed leaves no build behind: the kernel ends its client."""
    if sys.platform != "linux":
        pytest.skip("the kernel does so on Linux alone")
    program = (
        "import asyncio\nfrom hud_platform.builds.processes import running\n"
        "async def main():\n"
        "    async with running(['sh', '-c', 'echo $$; exec sleep 3600']) as child:\n"
        "        async for chunk in child.chunks():\n"
        "            print(chunk.decode(), flush=True)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    while _lives(child):
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# With an engine


def docker(*arguments: str) -> bytes:
    return subprocess.run([require_docker(), *arguments], capture_output=True, check=True).stdout


@pytest.fixture
def log(tmp_path: Path) -> BuildLog:
    return Logs(tmp_path / "logs").of(uuid.uuid4())


@pytest.fixture
def tag() -> Iterator[str]:
    client = require_docker()
    name = f"hud/test-builder:{uuid.uuid4()}"
    yield name
    subprocess.run([client, "rmi", "--force", name], capture_output=True)


async def build(
    folder: Path, log: BuildLog, tag: str, dockerfile: str, *, secrets: Mapping[str, str] | None = None, **plan: Any
) -> BuiltImage:
    (folder / "Dockerfile.hud").write_text(f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{dockerfile}")
    arguments = {"BASE_IMAGE": base_image(), **plan.pop("build_args", {})}
    wanted = BuildPlan(folder=folder, tag=tag, build_args=arguments, secrets=secrets or {}, **plan)
    with LogWriter(log, limit_bytes=2**20) as writer:
        return await builder.build(wanted, writer, Masker((secrets or {}).values()))


def shown(log: BuildLog) -> str:
    return "\n".join(json.loads(line)["message"] for line in log.path.read_bytes().splitlines())


@pytest.mark.docker
async def test_the_same_context_gives_the_same_digest_from_the_cache(folder: Path, log: BuildLog, tag: str) -> None:
    labels = {"hud.environment": "test-builder"}
    first = await build(folder, log, tag, "RUN echo made > /made\n", labels=labels)
    second = await build(folder, log, tag, "RUN echo made > /made\n", labels=labels)
    assert first == second
    assert first.digest.startswith("sha256:")
    assert first.size_bytes > 0
    assert "CACHED" in shown(log)


@pytest.mark.docker
async def test_labels_and_arguments_are_in_the_image(folder: Path, log: BuildLog, tag: str) -> None:
    await build(
        folder, log, tag, 'ARG WHAT\nRUN echo "$WHAT" > /what\n', build_args={"WHAT": "x y"}, labels={"a.b": "c=d"}
    )
    assert json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", tag))["a.b"] == "c=d"
    assert docker("run", "--rm", tag, "cat", "/what") == b"x y\n"


@pytest.mark.docker
async def test_pa_12_a_secret_is_mounted_and_is_nowhere_else(folder: Path, log: BuildLog, tag: str) -> None:
    loud = "cat /run/secrets/token; base64 < /run/secrets/token; sha256sum /run/secrets/token > /digest"
    loud += f"; : {tag}"  # or the engine has it from the last time, and prints nothing
    await build(folder, log, tag, f"RUN --mount=type=secret,id=token {loud}\n", secrets={"token": SECRET})
    for place in (docker("save", tag), docker("history", "--no-trunc", tag), log.path.read_bytes()):
        assert SECRET.encode() not in place
    assert "***" in shown(log)
    assert len(docker("run", "--rm", tag, "cat", "/digest").split()[0]) == 64


@pytest.mark.docker
async def test_a_step_that_fails_is_told_with_its_last_lines(folder: Path, log: BuildLog, tag: str) -> None:
    with pytest.raises(HudError) as failed:
        await build(folder, log, tag, "RUN echo before; echo no such thing >&2; exit 3\n")
    assert "the build failed at [2/2] RUN echo before" in str(failed.value)
    assert "exit code: 3" in str(failed.value)
    assert "  no such thing" in str(failed.value)


@pytest.mark.docker
async def test_a_dockerfile_that_cannot_be_read_is_told(folder: Path, log: BuildLog, tag: str) -> None:
    with pytest.raises(HudError, match=r"the image does not build: .*unknown instruction: HUD"):
        await build(folder, log, tag, "HUD is no instruction\n")


@pytest.mark.docker
async def test_a_build_that_hangs_ends_when_it_is_told_to(folder: Path, log: BuildLog, tag: str) -> None:
    mark = uuid.uuid4().hex
    building = asyncio.create_task(build(folder, log, tag, f"RUN echo begun; sleep 3600 # {mark}\n"))
    async for frame in log.watch():
        if "begun" in json.loads(frame)["message"].split("\n"):
            break
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    _wait_until_ended(mark)


def _wait_until_ended(mark: str) -> None:
    while mark in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout:
        time.sleep(0.05)


@pytest.mark.docker
async def test_a_build_that_would_fill_the_disk_does_not_begin(folder: Path, log: BuildLog, tag: str) -> None:
    with pytest.raises(HudError, match="may not leave less than 1000000000 MB"):
        await build(folder, log, tag, "RUN true\n", free_disk_mb=1_000_000_000)


@pytest.mark.docker
async def test_an_image_that_is_not_there_is_told() -> None:
    require_docker()
    with pytest.raises(NotFoundError, match="no image named 'hud/none:1'"):
        await builder.inspect("hud/none:1")
