"""Following a build's log: every line once, whatever happens to the connection, and the verdict is the status."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from hud import settings
from hud.errors import NotAuthorisedError, NotFoundError, PlatformError, UnreachableError
from hud.platform import builds, logs
from hud.platform.client import Platform
from hud.platform.records import BuildFrame, BuildRequest
from tests import cutting_proxy
from tests.cutting_proxy import CuttingProxy
from tests.platform_process import PlatformProcess
from tests.stand_in import FRAMES, SUCCEEDED, PublicService, Scripted

RUNNING = {"status": "IN_PROGRESS"}
LINES = [{"type": "log", "message": f"line {number}"} for number in range(6)]
LOG = [FRAMES[0], *LINES, FRAMES[-1]]


@pytest.fixture
def client(public_service: PublicService) -> Iterator[Platform]:
    with Platform(settings.load({**public_service.variables, "HUD_RETRY_LIMIT_S": "0"})) as platform:
        yield platform


@contextmanager
def connected(url: str, key: str, *, cuts: Sequence[int] = ()) -> Iterator[tuple[Platform, CuttingProxy]]:
    """Give a client of a platform behind a proxy that cuts."""
    with (
        cutting_proxy.before(url, cuts=cuts) as proxy,
        Platform(settings.load({"HUD_API_URL": proxy.url, "HUD_API_KEY": key})) as client,
    ):
        yield client, proxy


def own_build(platform: PlatformProcess, frames: Sequence[dict[str, Any]]) -> str:
    """Give a build of a platform of this project's whose log begins with these frames; it failed."""
    with Platform(settings.load({"HUD_API_URL": platform.url, "HUD_API_KEY": platform.key})) as client:
        ticket = builds.open_upload(client)
        log = platform.data / "builds" / ticket.build_id / "log.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        numbered = [{"seq": number, **frame} for number, frame in enumerate(frames)]
        log.write_text("".join(json.dumps(frame) + "\n" for frame in numbered))
        archive = gzip.compress(bytes(1024))  # an empty tar: there is no Dockerfile in it
        client.put_file(ticket.upload_url, [archive], size_bytes=len(archive), content_type="application/gzip")
        builds.trigger(client, BuildRequest(build_id=ticket.build_id, name="log-test"))
        assert logs.wait(client, ticket.build_id).status == "FAILED"
    return ticket.build_id


def messages(frames: Iterator[BuildFrame]) -> list[str | None]:
    return [frame.message for frame in frames]


def expected(frames: list[dict[str, Any]]) -> list[str | None]:
    return [frame.get("message") for frame in frames]


def test_pa_14_the_public_service_gets_its_key_as_it_reads_it(client: Platform, public_service: PublicService) -> None:
    assert messages(logs.follow(client, "b1")) == expected(list(FRAMES))
    (request,) = public_service.calls("GET", "/v2/builds/b1/logs")
    assert request.query == {"api_key": [public_service.key]}
    assert "authorization" not in request.headers


@pytest.mark.parametrize("close", [1000, 1011, None], ids=["closed", "failed", "cut"])
def test_weakness_6_a_log_that_ends_after_every_frame_loses_and_repeats_none(
    client: Platform, public_service: PublicService, close: int | None
) -> None:
    public_service.frames, public_service.statuses = LOG, [RUNNING]
    public_service.log_ends_after, public_service.log_close = 1, close
    seen = []
    for frame in logs.follow(client, "b1"):
        seen.append(frame.message)
        public_service.log_ends_after = len(seen) + 1
    assert seen == expected(LOG)
    assert public_service.log_connections >= len(LOG)


def test_a_public_log_cut_at_any_byte_is_read_again(public_service: PublicService) -> None:
    public_service.frames, public_service.statuses = LOG[-4:], [RUNNING]
    with connected(public_service.url, public_service.key) as (client, proxy):
        assert messages(logs.follow(client, "b1")) == expected(LOG[-4:])
        for cut in range(0, proxy.sent_bytes[0], 5):
            proxy.cuts = [cut]
            assert messages(logs.follow(client, "b1")) == expected(LOG[-4:]), f"cut after {cut} bytes"


def test_our_log_cut_at_any_byte_goes_on_where_it_was(platform: PlatformProcess) -> None:
    build = own_build(platform, LINES[:3])
    with connected(platform.url, platform.key or "") as (client, proxy):
        whole = messages(logs.follow(client, build))
        assert whole[:4] == ["Connected to build logs", *expected(LINES[:3])]
        for cut in range(0, proxy.sent_bytes[0], 11):
            proxy.cuts = [cut]
            seen = messages(logs.follow(client, build))
            assert [line for line in seen if line] == [line for line in whole if line], f"cut after {cut} bytes"


def test_our_platform_is_asked_for_what_is_missing_alone(platform: PlatformProcess) -> None:
    build = own_build(platform, [{"type": "log", "message": "x" * 1000} for _ in range(200)])
    with connected(platform.url, platform.key or "", cuts=[100_000]) as (client, proxy):
        frames = list(logs.follow(client, build))
    numbers = [frame.seq for frame in frames if frame.seq is not None]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 200
    assert sum(proxy.sent_bytes) < 230_000


def test_pa_14_our_platform_gets_its_key_in_a_header(platform: PlatformProcess) -> None:
    build = own_build(platform, LINES)
    with connected(platform.url, platform.key or "") as (client, _):
        assert len(list(logs.follow(client, build))) > len(LINES)
    assert (platform.key or "") not in platform.log() + platform.stderr()


@pytest.mark.parametrize("status", [404, 400, 500])
def test_a_log_that_cannot_be_had_is_waited_for_without(
    client: Platform, public_service: PublicService, status: int
) -> None:
    public_service.log_status = status
    told: list[str] = []
    assert list(logs.follow(client, "b1", notice=told.append)) == []
    assert len(public_service.calls("GET", "/v2/builds/b1/status")) == 2
    assert told[0].startswith("the log cannot be followed (")
    assert told[0].endswith("); waiting for the build's end")


def test_pa_14_a_log_that_is_closed_with_4003_is_not_asked_for_again(
    client: Platform, public_service: PublicService
) -> None:
    public_service.log_ends_after, public_service.log_close = 1, 4003
    assert messages(logs.follow(client, "b1")) == ["Connected to build logs"]
    assert public_service.log_connections == 1
    assert logs.wait(client, "b1").status == "SUCCEEDED"


def test_a_key_that_may_not_read_a_log_is_said(platform: PlatformProcess) -> None:
    build = own_build(platform, LINES)
    with connected(platform.url, "hud_wrong") as (client, _), pytest.raises(NotAuthorisedError):
        list(logs.follow(client, build))
    with connected(platform.url, platform.key or "") as (client, _), pytest.raises(NotFoundError):
        list(logs.follow(client, "11111111-1111-4111-8111-111111111111"))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_log_that_breaks_off_before_the_end_for_good_ends_with_the_status(
    client: Platform, public_service: PublicService, number: int
) -> None:
    public_service.frames, public_service.statuses = LOG, [RUNNING, RUNNING, SUCCEEDED]
    public_service.log_ends_after, public_service.log_close = number, None
    assert messages(logs.follow(client, "b1")) == expected(LOG[:number])
    assert logs.wait(client, "b1").version == 4


def test_pa_38_frames_that_cannot_be_read_and_unknown_ones_are_no_end(
    client: Platform, public_service: PublicService
) -> None:
    public_service.frames = [
        *("no json", "[1]", "{}", json.dumps({"type": 7}), b"\xff\xfe", json.dumps({"type": "log", "seq": "a"})),
        {"type": "metrics", "cpu": 3, "message": {"not": "text"}},
        {"type": "news"},
        {"type": "log", "message": "iso", "timestamp": "2026-01-01T00:00:00Z"},
        {"type": "log", "message": "number", "timestamp": 1.5, "level": "info"},
        {"type": "log", "message": "none", "timestamp": None},
        *FRAMES[-1:],
    ]
    seen = list(logs.follow(client, "b1"))
    assert [frame.type for frame in seen] == ["news", "log", "log", "log", "complete"]
    assert [frame.timestamp for frame in seen[1:4]] == ["2026-01-01T00:00:00Z", 1.5, None]


def test_an_error_frame_ends_the_log_and_not_the_verdict(client: Platform, public_service: PublicService) -> None:
    public_service.frames = [{"type": "error", "error": "the stream ended"}, *LINES]
    (frame,) = logs.follow(client, "b1")
    assert frame.error == "the stream ended"
    assert logs.wait(client, "b1").status == "SUCCEEDED"


def test_what_differs_between_connections_is_given_once(client: Platform, public_service: PublicService) -> None:
    public_service.statuses = [RUNNING]
    public_service.frames, public_service.log_ends_after = [FRAMES[0], *LINES], 4
    seen = []
    for frame in logs.follow(client, "b1"):
        seen.append(frame.message or frame.status)
        if len(seen) == 4:  # another connection begins otherwise, and the log's lines are counted all the same
            again = {"type": "status_update", "status": "MIGRATING"}
            public_service.frames, public_service.log_ends_after = [FRAMES[0], again, *LINES, FRAMES[-1]], None
    assert seen == [*expected([FRAMES[0], *LINES[:3]]), "MIGRATING", *expected([*LINES[3:], FRAMES[-1]])]


@pytest.mark.parametrize("word", ["QUEUED", "PENDING", "CANCELLING", "MIGRATING"])
def test_weakness_7_a_build_that_waits_is_waited_for(
    client: Platform, public_service: PublicService, word: str
) -> None:
    public_service.statuses = [{"status": word}, {"status": "FAILED", "error_message": "no"}]
    assert logs.wait(client, "b1").error_message == "no"


def test_weakness_7_a_status_that_fails_once_is_asked_for_again(
    client: Platform, public_service: PublicService
) -> None:
    faults = [Scripted(status=500, body={"detail": "oops"}), Scripted(status=503), Scripted(drop="after")]
    public_service.script("GET", "/v2/builds/b1/status", *faults)
    assert logs.wait(client, "b1").status == "SUCCEEDED"


def test_a_platform_that_stays_away_is_not_waited_for_for_ever(client: Platform, public_service: PublicService) -> None:
    public_service.script("GET", "/v2/builds/b1/status", Scripted(status=500, body={"detail": "Oops"}), always=True)
    with pytest.raises(PlatformError, match="oops"):
        logs.wait(client, "b1", patience_s=0)
    with (
        Platform(
            settings.load({"HUD_API_URL": "http://127.0.0.1:9", "HUD_API_KEY": "k", "HUD_RETRY_LIMIT_S": "0"})
        ) as (nowhere),
        pytest.raises(UnreachableError),
    ):
        logs.wait(nowhere, "b1", patience_s=0)


def test_what_is_there_is_given_without_waiting_for_more(client: Platform, public_service: PublicService) -> None:
    public_service.statuses = [RUNNING]

    class Slow(list[Any]):
        """Frames of which the fifth comes late."""

        def __getitem__(self, place: Any) -> Any:
            return self.late(list.__getitem__(self, place))

        @staticmethod
        def late(frames: list[Any]) -> Iterator[Any]:
            for number, frame in enumerate(frames):
                if number == 4:
                    threading.Event().wait(3)
                yield frame

    public_service.frames = Slow(LOG)
    assert messages(logs.follow(client, "b1", until_now=True)) == expected(LOG[:4])
