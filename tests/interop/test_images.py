"""Images: one implementation inside, the other outside.

Golden facts, seen on release 0.6.21 where the specification leaves room:

- The public DockerRuntime passes no channel token, and an image of ours serves without one.
- Ours passes HUD_CHANNEL_TOKEN and a `token` in hello; an environment that the public SDK serves ignores both.
- Inside an image of the public SDK `hud task` finds no served environment without `--url`: our `hud task run --image`
  needs an image of ours, while our `DockerRuntime` runs either.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import bench
from tests.interop.parties import Party, copy_source

pytestmark = [
    pytest.mark.peer,
    pytest.mark.docker,
    pytest.mark.timeout(900),  # the first image makes its base, and the other one installs the public SDK
]

FIX = {"env": "my-blank", "id": "fix_bug", "args": {"difficulty": 1}, "slug": "fix"}
COUNT = {"env": "my-blank", "id": "count", "args": {"sentence": "banana", "letter": "n"}, "slug": "count"}
MENDED = "    return sum(numbers) / len(numbers)"
COUNT_PROMPT = "How often does the letter 'n' occur in 'banana', small or capital? Answer with the number alone."


def docker(*words: str) -> str:
    done = subprocess.run([bench.require_docker(), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def containers_of(image: str) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"ancestor={image}").split()


@pytest.fixture
def address(template_image: Callable[[str], str]) -> Iterator[str]:
    """A container of the blank template, and where its control port is published."""
    name = docker("run", "--detach", "--publish", "127.0.0.1::8765", template_image("blank"))
    try:
        yield "tcp://" + docker("port", name, "8765/tcp")
    finally:
        docker("rm", "--force", name)


def rolled(party: Party, image: str, folder: Path, rows: list[dict[str, Any]], answers: dict[str, str]) -> Any:
    """Run rows through the party's DockerRuntime and give its job."""
    file = folder / "rows.json"
    file.write_text(json.dumps(rows))
    given = {"answers": answers, "jobs": [{"rows": str(file), "rollout_timeout_s": 40.0}]}
    (job,) = party.run("roll.py", f"docker:{image}", given=given)
    return job


def test_their_command_starts_and_grades_in_a_container_of_ours(theirs: Party, address: str) -> None:
    started = theirs.hud("task", "start", "fix_bug", "--url", address)
    assert started.code == 0, started.err
    assert started.out.startswith("One operator in this function is wrong.")
    graded = theirs.hud("task", "grade", "fix_bug", "--answer", MENDED, "--url", address)
    assert (graded.code, graded.out) == (0, "1.0\n"), graded.err


def test_their_docker_runtime_runs_an_image_of_ours(
    theirs: Party, template_image: Callable[[str], str], tmp_path: Path
) -> None:
    image = template_image("blank")
    job = rolled(theirs, image, tmp_path, [FIX, COUNT], {COUNT_PROMPT: "2"})
    runs = {run["slug"]: (run["reward"], run["error"]) for run in job["runs"]}
    assert runs == {"fix": (0.0, None), "count": (1.0, None)}
    assert containers_of(image) == []


THEIR_DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ENV HUD_CLI_ANALYTICS_ENABLED=0 HUD_SKIP_VERSION_CHECK=1 HUD_TELEMETRY_ENABLED=false
RUN python3 -m pip install --no-cache-dir "hud==0.6.21" "typer>=0.28,<0.29"
WORKDIR /app
COPY . .
CMD ["hud", "serve", "env.py", "--host", "0.0.0.0", "--port", "8765"]
"""


@pytest.fixture(scope="module")
def their_image(build_image: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of the common environment, with the public SDK in it from a package index."""
    folder = copy_source(tmp_path_factory.mktemp("image") / "interop")
    (folder / "Dockerfile.hud").write_text(THEIR_DOCKERFILE)
    try:
        return build_image(folder)
    except pytest.fail.Exception as failed:
        bench.missing(f"no image with the public SDK in it: {str(failed).strip().splitlines()[-1]}")


@pytest.mark.slow
def test_our_docker_runtime_runs_an_image_of_theirs(ours: Party, their_image: str, tmp_path: Path) -> None:
    rows = [
        {"env": "interop", "id": "add", "args": {"a": 4}, "slug": "add"},
        {"env": "interop", "id": "rate", "args": {"form": "result"}, "slug": "rate"},
        {"env": "interop", "id": "fail", "args": {"where": "start"}, "slug": "fail"},
    ]
    job = rolled(ours, their_image, tmp_path, rows, {"What is 4+2?": "6"})
    assert {run["slug"]: run["reward"] for run in job["runs"]} == {"add": 1.0, "rate": 0.75, "fail": 0.0}
    assert [run["error"] for run in job["runs"]] == [None, None, "[start] hud rpc error -32000: boom at start"]
    assert containers_of(their_image) == []
