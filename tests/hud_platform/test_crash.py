"""A platform that is killed loses nothing: its builds go on at the next start, and each makes one version.

HUD_CRASH_TIMES says how many random moments are tried (10), HUD_CRASH_SEED which.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench import require_docker, require_postgres
from tests.hud_platform.deploying import Watched, end_of, new_name, served, trigger, upload, watch
from tests.platform_process import PlatformProcess

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

_TIMES = int(os.environ.get("HUD_CRASH_TIMES", "10"))
_SEED = os.environ.get("HUD_CRASH_SEED", "")
_LONGEST_BUILD_S = 5.0

STAGES = [
    "Preparing the context",
    "Building the image",
    "begun 1",
    "begun 3",
    "exporting to image",
    "Starting the image once",
    "It answers",
    "Registering",
]


@pytest.fixture(autouse=True)
def _engine() -> None:
    require_docker()


def slow_environment(wheel: Path) -> dict[str, bytes]:
    """An environment whose build takes a second or two, and is not found in the cache."""
    return served(wheel, steps=f"RUN for n in 1 2 3; do echo begun $n {new_name()}; sleep 0.4; done")


def start_build(platform: PlatformProcess, wheel: Path, name: str) -> str:
    build_id = upload(platform, slow_environment(wheel))
    trigger(platform, build_id, name).raise_for_status()
    return build_id


def restart(platform: PlatformProcess, number: int = signal.SIGKILL) -> None:
    platform.stop(number)
    platform.start()


def check(platform: PlatformProcess, build_id: str, *, version: int = 1) -> Watched:
    """See that a build ended once, in a version, with a log that has every frame once, and left nothing behind."""
    ended = end_of(platform, build_id)
    assert (ended["status"], ended.get("version"), ended.get("error_message")) == ("SUCCEEDED", version, None)
    versions = platform.client.get(f"/v2/registry/{ended['registry_id']}/versions").json()
    assert [row["build_id"] for row in versions["items"]].count(build_id) == 1
    lines = (platform.data / "builds" / build_id / "log.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(lines)))
    seen = watch(platform, build_id)
    assert seen.numbers == list(range(len(lines)))
    assert containers_of(ended["uri"]) == ""
    return seen


def containers_of(image: str) -> str:
    asked = [require_docker(), "ps", "--all", "--quiet", "--filter", f"ancestor={image}"]
    return subprocess.check_output(asked, text=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_build_goes_on_that_was_killed_at(
    fresh_platform: Callable[..., PlatformProcess], wheel: Path, stage: str
) -> None:
    platform = fresh_platform()
    build_id = start_build(platform, wheel, "crashed")
    before = watch(platform, build_id, until=stage)
    restart(platform)
    after = watch(platform, build_id, cursor=len(before.numbers))
    whole = check(platform, build_id)
    assert before.numbers + after.numbers == whole.numbers
    assert before.frames[1:] + after.frames[1:] == whole.frames[1:]


def test_a_build_goes_on_that_was_stopped_in_order(fresh_platform: Callable[..., PlatformProcess], wheel: Path) -> None:
    platform = fresh_platform()
    build_id = start_build(platform, wheel, "stopped")
    watch(platform, build_id, until="begun 1")
    begun = time.monotonic()
    assert platform.stop(signal.SIGTERM) == 0
    print(f"stopped within {time.monotonic() - begun:.1f} s")
    assert "begun 1" not in subprocess.check_output(["ps", "-eo", "args"], text=True)
    platform.start()
    whole = check(platform, build_id)
    assert "The platform is stopping; the build goes on when it is back" in whole.text
    assert "The platform was restarted; the build goes on" in whole.text


def test_a_build_goes_on_whose_state_is_in_postgresql(
    fresh_platform: Callable[..., PlatformProcess], wheel: Path
) -> None:
    platform = fresh_platform("--database", require_postgres())
    ids = [start_build(platform, wheel, "crashed") for _ in range(2)]
    watch(platform, ids[0], until="begun 1")
    restart(platform)
    for number, build_id in enumerate(ids, start=1):
        check(platform, build_id, version=number)


def test_a_queue_keeps_its_order(fresh_platform: Callable[..., PlatformProcess], wheel: Path) -> None:
    platform = fresh_platform("--builds", "1")
    ids = [start_build(platform, wheel, "queued") for _ in range(3)]
    watch(platform, ids[0], until="begun 1")
    restart(platform)
    for number, build_id in enumerate(ids, start=1):
        check(platform, build_id, version=number)


def test_a_build_that_was_cancelled_before_a_crash_stops(
    fresh_platform: Callable[..., PlatformProcess], wheel: Path
) -> None:
    platform = fresh_platform()
    build_id = start_build(platform, wheel, "cancelled")
    watch(platform, build_id, until="begun 1")
    os.kill(platform.pid, signal.SIGSTOP)  # so that it is killed before the build has stopped
    _cancel_in_database(platform.data, build_id)
    restart(platform)
    assert end_of(platform, build_id)["status"] == "STOPPED"


def _cancel_in_database(data: Path, build_id: str) -> None:
    import sqlite3
    import uuid

    with sqlite3.connect(data / "platform.sqlite") as database:
        database.execute("UPDATE builds SET cancel_requested = 1 WHERE id = ?", (uuid.UUID(build_id).hex,))


def test_builds_survive_kills_at_random_times(fresh_platform: Callable[..., PlatformProcess], wheel: Path) -> None:
    seed = _SEED or str(time.time_ns())
    print(f"HUD_CRASH_SEED={seed}")
    chance = random.Random(seed)
    platform = fresh_platform()
    builds: dict[str, str] = {}
    for _ in range(_TIMES):
        build_id = start_build(platform, wheel, name := chance.choice("ab"))
        builds[build_id] = name
        time.sleep(chance.uniform(0.0, _LONGEST_BUILD_S))
        restart(platform)
        if chance.random() < 0.3:  # killed again while it resumes
            time.sleep(chance.uniform(0.0, 2.0))
            restart(platform)
    numbers: dict[str, list[Any]] = {"a": [], "b": []}
    for build_id, name in builds.items():
        numbers[name].append(end_of(platform, build_id).get("version"))
        check(platform, build_id, version=numbers[name][-1])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
