"""Calls that give records: exactly the specified fields go out, and unknown ones may come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hud import settings
from hud.errors import HudError, NotAuthorisedError, PlatformError, UnreachableError, UsageError
from hud.platform.client import Platform
from hud.platform.records import BuildStatus, BuildTicket, EnvironmentRecord, Identity, ProjectRecord
from tests.stand_in import DROP, TEAM, USER, PublicService, Scripted

Connect = Callable[..., Platform]


@pytest.fixture
def connect(public_service: PublicService, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Make clients of the service, which wait for nothing unless told."""
    made: list[Platform] = []

    def make(**values: str) -> Platform:
        explicit = {**public_service.variables, "HUD_RETRY_LIMIT_S": "0", **values}
        made.append(Platform(settings.load(explicit)))
        return made[-1]

    yield make
    for platform in made:
        platform.close()


def test_without_a_key_nothing_is_sent(public_service: PublicService) -> None:
    with pytest.raises(NotAuthorisedError) as caught:
        Platform(settings.Settings(api_url=public_service.url))
    assert caught.value.exit_code == 4
    assert str(caught.value) == "there is no API key: HUD_API_KEY is not set"
    assert caught.value.hint == "hud login, or for a platform of your own: hud platform up"
    assert public_service.requests == []


def test_a_wrong_key_is_told_from_none(connect: Connect) -> None:
    with pytest.raises(NotAuthorisedError, match="invalid API key"):
        connect(HUD_API_KEY="wrong").call("GET", "/auth/me", into=Identity)


def test_pa_37_a_call_goes_below_v2_with_the_key_as_bearer(connect: Connect, public_service: PublicService) -> None:
    identity = connect(HUD_API_URL=public_service.url + "/").call("GET", "/auth/me", into=Identity)
    assert identity == Identity(user_id=USER, team_id=TEAM)
    (request,) = public_service.requests
    assert (request.path, request.body) == ("/v2/auth/me", b"")
    assert request.headers["authorization"] == f"Bearer {public_service.key}"


def test_pa_37_a_body_is_json_with_exactly_the_fields_that_were_given(
    connect: Connect, public_service: PublicService
) -> None:
    body = {"name": "grüße", "args": {"a": None, "b": 1.0, "c": 2**70}}
    public_service.script("POST", "/v2/x", Scripted(body={}))
    connect().call("POST", "/x", into=None, body=body)
    (request,) = public_service.requests
    assert request.json == body
    assert request.headers["content-type"] == "application/json"
    assert b'"b":1.0' in request.body


def test_pa_37_a_platform_without_a_capability_document_has_no_extensions(
    connect: Connect, public_service: PublicService
) -> None:
    platform = connect()
    assert platform.extensions == frozenset()
    assert platform.extensions == frozenset()
    assert len(public_service.calls("GET", "/v2/capabilities")) == 1


def test_extensions_are_what_the_document_names(connect: Connect, public_service: PublicService) -> None:
    document = {"server": "hud-platform", "version": "9", "extensions": ["contexts", "brand-new"], "more": {}}
    public_service.script("GET", "/v2/capabilities", Scripted(body=document))
    platform = connect()
    assert platform.extensions == {"contexts", "brand-new"}
    platform.need("contexts", what="uploads by digest")
    with pytest.raises(HudError) as caught:
        platform.need("builds", what="a list of builds")
    assert str(caught.value) == f"{platform.origin} does not offer a list of builds"


@pytest.mark.parametrize(
    "reply",
    [
        Scripted(status=401, body={"detail": "no"}),
        Scripted(status=405),
        Scripted(status=500),
        Scripted(status=301, headers={"Location": "/"}),
        Scripted(body=b"<html>"),
        Scripted(body=[]),
        Scripted(body={"extensions": ["builds"]}),
        Scripted(status=204),
    ],
    ids=["401", "405", "500", "301", "html", "list", "lacking", "empty"],
)
def test_pa_37_any_other_answer_is_no_capability_document(
    connect: Connect, public_service: PublicService, reply: Scripted
) -> None:
    public_service.script("GET", "/v2/capabilities", reply)
    assert connect().extensions == frozenset()


@pytest.mark.parametrize(
    ("reply", "kind"), [(Scripted(status=503), PlatformError), (DROP, UnreachableError)], ids=["503", "dropped"]
)
def test_a_platform_that_is_down_is_not_taken_for_one_without_extensions(
    connect: Connect, public_service: PublicService, reply: Scripted, kind: type[HudError]
) -> None:
    public_service.script("GET", "/v2/capabilities", reply, Scripted(body={"server": "s", "version": "1"}))
    platform = connect()
    with pytest.raises(kind):
        _ = platform.extensions
    assert platform.extensions == frozenset()


def test_pa_38_unknown_fields_and_statuses_are_accepted(connect: Connect, public_service: PublicService) -> None:
    status = {"status": "REBALANCING", "version": "4-rc", "shards": [1], "manifest": {"tasks": [{"id": "t", "x": 1}]}}
    public_service.statuses = [status]
    found = connect().call("GET", "/builds/b/status", into=BuildStatus)
    assert (found.status, found.version) == ("REBALANCING", "4-rc")
    assert found.manifest is not None
    assert [task.id for task in found.manifest.tasks] == ["t"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "it is no JSON"),
        (b'{"build_id":"b"', "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        ({"build_id": "b"}, "missing required field `upload_url`"),
        (b"", "missing required field `build_id`"),
        ({"build_id": 7, "upload_url": "u"}, "expected `str`, got `int` - at `$.build_id`"),
        ([], "expected `object`, got `array`"),
    ],
)
def test_a_reply_that_cannot_be_read_says_why(
    connect: Connect, public_service: PublicService, body: object, reason: str
) -> None:
    public_service.script("POST", "/v2/builds/upload-url", Scripted(body=body))
    with pytest.raises(PlatformError) as caught:
        connect().call("POST", "/builds/upload-url", into=BuildTicket)
    assert str(caught.value) == (
        f"the reply to POST {public_service.url}/v2/builds/upload-url cannot be read: {reason}"
    )
    assert caught.value.status == 200


def test_a_reply_that_is_not_read_may_hold_anything(connect: Connect, public_service: PublicService) -> None:
    public_service.script("POST", "/v2/x", Scripted(status=204), Scripted(body=b"<html>"))
    platform = connect()
    assert platform.call("POST", "/x", into=None) is None
    assert platform.call("POST", "/x", into=None) is None


def test_a_body_can_be_had_as_it_came(connect: Connect, public_service: PublicService) -> None:
    public_service.script("GET", "/v2/x", Scripted(body=b'{"a": 1.0}'), Scripted(body={"a": None}))
    platform = connect()
    assert platform.call("GET", "/x", into=bytes) == b'{"a": 1.0}'
    assert platform.call("GET", "/x", into=dict[str, Any]) == {"a": None}


@dataclass(frozen=True, kw_only=True)
class Text:
    """A body."""

    text: str


def test_text_that_is_none_is_refused_before_it_is_sent(connect: Connect, public_service: PublicService) -> None:
    with pytest.raises(UsageError, match="not Unicode"):
        connect().call("POST", "/x", into=None, body=Text(text="\ud800"))
    assert public_service.requests == []


def test_every_page_is_read(connect: Connect, public_service: PublicService) -> None:
    for number in range(5):
        public_service.add_environment(f"env-{number}")
    params = {"sort_by": "date"}
    rows = list(connect().rows("/registry", into=EnvironmentRecord, params=params, page_rows=2))
    assert [row.name for row in rows] == [f"env-{number}" for number in range(5)]
    queries = [request.query for request in public_service.calls("GET", "/v2/registry")]
    assert [query["offset"] for query in queries] == [["0"], ["2"], ["4"]]
    assert queries[0] == {"limit": ["2"], "offset": ["0"], "sort_by": ["date"]}


def test_an_empty_page_before_the_last_is_an_error_and_no_endless_loop(
    connect: Connect, public_service: PublicService
) -> None:
    public_service.script("GET", "/v2/projects", Scripted(body={"items": [], "total": 3}), always=True)
    with pytest.raises(PlatformError) as caught:
        list(connect().rows("/projects", into=ProjectRecord))
    assert str(caught.value) == f"{public_service.url} sent an empty page of /projects after 0 of 3 rows"


@pytest.mark.parametrize("page", [{"items": []}, {"total": 0}, [], {"items": [{"id": "1"}], "total": 1}])
def test_a_page_needs_its_fields_and_its_rows_theirs(
    connect: Connect, public_service: PublicService, page: object
) -> None:
    public_service.script("GET", "/v2/projects", Scripted(body=page))
    with pytest.raises(PlatformError, match="cannot be read"):
        list(connect().rows("/projects", into=ProjectRecord))


def test_a_file_goes_to_storage_as_the_specification_says(connect: Connect, public_service: PublicService) -> None:
    platform = connect()
    ticket = platform.call("POST", "/builds/upload-url", into=BuildTicket)
    platform.put_file(ticket.upload_url, [b"ab", b"c"], size_bytes=3, content_type="application/gzip")
    assert public_service.uploads == {ticket.build_id: b"abc"}
    sent = public_service.calls("PUT")[0].headers
    assert (sent["content-type"], sent["content-length"]) == ("application/gzip", "3")
    assert "authorization" not in sent


def test_weakness_2_storage_that_fails_once_is_tried_again_and_the_signature_is_not_shown(
    connect: Connect, public_service: PublicService
) -> None:
    again = Scripted(status=503, headers={"Retry-After": "0"})
    public_service.script("PUT", "/store/.*", again, Scripted(status=403))
    platform = connect()
    ticket = platform.call("POST", "/builds/upload-url", into=BuildTicket)
    with pytest.raises(PlatformError) as caught:
        platform.put_file(ticket.upload_url, [b"abc"], size_bytes=3, content_type="application/gzip")
    assert len(public_service.calls("PUT")) == 2
    assert "sig" not in str(caught.value)


def test_a_websocket_has_the_same_place(connect: Connect) -> None:
    assert connect(HUD_API_URL="https://h/p").websocket_url("/builds/b/logs") == "wss://h/p/v2/builds/b/logs"
    assert connect(HUD_API_URL="http://h").websocket_url("/x") == "ws://h/v2/x"


def test_a_download_is_a_call_too(connect: Connect, public_service: PublicService) -> None:
    public_service.script("GET", "/v2/backup", Scripted(body=b"x" * 100_000))
    with connect().download("/backup") as download:
        assert sum(map(len, download.chunks)) == 100_000
    assert public_service.requests[0].headers["authorization"] == f"Bearer {public_service.key}"
