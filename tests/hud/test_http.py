"""Calls to a platform: what is sent, what is sent again, and what a failure says. Against a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hud.errors import (
    DeadlineError,
    HudError,
    NotAuthorisedError,
    NotFoundError,
    PlatformError,
    UnreachableError,
    UsageError,
)
from hud.http import Http
from hud.version import __version__
from tests.stand_in import DROP, PublicService, Scripted

KEY = "sk-secret-key"
ME = "/v2/auth/me"
BROKEN = Scripted(status=503, body={"detail": "The platform restarts."})
FINE = Scripted(body={})

Client = Callable[..., Http]


@pytest.fixture
def waits() -> list[float]:
    """The waits that were made, in seconds; none is waited for."""
    return []


@pytest.fixture
def client(waits: list[float]) -> Iterator[Client]:
    """Make clients that do not really wait."""
    made: list[Http] = []

    def make(*, retry_limit_s: float = 60.0, notice: Callable[[str], None] | None = None) -> Http:
        made.append(Http(key=KEY, retry_limit_s=retry_limit_s, notice=notice, sleep=waits.append))
        return made[-1]

    yield make
    for http in made:
        http.close()


@pytest.fixture
def garbler() -> Iterator[Callable[[bytes], str]]:
    """Serve the same bytes to everybody who connects, whatever they say; give the address."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(content: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


def failure(call: Callable[[], object]) -> HudError:
    with pytest.raises(HudError) as caught:
        call()
    return caught.value


def test_a_call_carries_the_key_and_the_version(client: Client, public_service: PublicService) -> None:
    public_service.script("GET", ME, FINE)
    client().request("GET", public_service.url + ME)
    (request,) = public_service.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"] == f"hud-cli/{__version__}"


def test_a_post_without_a_payload_has_a_length_of_nought_and_no_type(
    client: Client, public_service: PublicService
) -> None:
    public_service.script("POST", "/x", FINE)
    client().request("POST", public_service.url + "/x")
    (request,) = public_service.requests
    assert request.headers["content-length"] == "0"
    assert "content-type" not in request.headers


def test_a_query_spells_truth_as_the_service_does(client: Client, public_service: PublicService) -> None:
    public_service.script("GET", "/x", FINE)
    params = {"a": True, "b": False, "c": None, "d": ["1", "ü&"], "e": 5}
    client().request("GET", public_service.url + "/x", params=params)
    assert public_service.requests[0].query == {"a": ["True"], "b": ["False"], "d": ["1", "ü&"], "e": ["5"]}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_pa_39_an_overload_is_tried_again_after_2_4_8_and_16_seconds(
    client: Client, public_service: PublicService, waits: list[float], status: int
) -> None:
    public_service.script("GET", ME, Scripted(status=status), always=True)
    error = failure(lambda: client().request("GET", public_service.url + ME))
    assert waits == [2, 4, 8, 16]
    assert len(public_service.requests) == 5
    assert isinstance(error, PlatformError)
    assert error.status == status
    assert error.kind == ("rate_limited" if status == 429 else "server_error")
    assert error.exit_code == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 418, 422, 500, 501])
def test_pa_39_no_other_failure_is_tried_again(
    client: Client, public_service: PublicService, waits: list[float], status: int
) -> None:
    public_service.script("GET", ME, Scripted(status=status), FINE)
    failure(lambda: client().request("GET", public_service.url + ME))
    assert (waits, len(public_service.requests)) == ([], 1)


def test_pa_39_a_broken_connection_is_tried_again(
    client: Client, public_service: PublicService, waits: list[float]
) -> None:
    middle = Scripted(drop="middle")
    public_service.script("GET", ME, DROP, middle, BROKEN, FINE)
    assert client().request("GET", public_service.url + ME).status == 200
    assert waits == [2, 4, 8]


@pytest.mark.parametrize("fault", [BROKEN, DROP, Scripted(status=429)], ids=["503", "dropped", "429"])
def test_pa_39_a_post_is_tried_again_only_when_a_second_one_does_no_harm(
    client: Client, public_service: PublicService, fault: Scripted
) -> None:
    public_service.script("POST", "/x", fault, FINE, fault, FINE)
    failure(lambda: client().request("POST", public_service.url + "/x", content=b"{}"))
    public_service.script("POST", "/y", fault, FINE)
    client().request("POST", public_service.url + "/y", content=b"{}", idempotent=True)
    assert [request.path for request in public_service.requests] == ["/x", "/y", "/y"]


def test_pa_39_a_timeout_is_not_tried_again(client: Client, public_service: PublicService, waits: list[float]) -> None:
    public_service.script("GET", ME, Scripted(delay_s=0.6), FINE)
    error = failure(lambda: client().request("GET", public_service.url + ME, timeout_s=0.2))
    assert isinstance(error, DeadlineError)
    assert error.exit_code == 3
    assert str(error) == f"GET {public_service.url}{ME} was not answered within 0.2 s"
    assert waits == []


@pytest.mark.parametrize("text", ["7", "7.0", "0", " 7 "])
def test_pa_39_retry_after_in_seconds_replaces_the_wait(
    client: Client, public_service: PublicService, waits: list[float], text: str
) -> None:
    public_service.script("GET", ME, Scripted(status=429, headers={"Retry-After": text}), BROKEN, FINE)
    client().request("GET", public_service.url + ME)
    assert waits == [float(text), 4]


def test_pa_39_retry_after_as_a_date_is_read_by_the_platforms_own_clock(
    client: Client, public_service: PublicService, waits: list[float]
) -> None:
    there = datetime(2020, 2, 2, 12, tzinfo=UTC)
    for seconds in (9, -9):
        headers = {"Retry-After": format_datetime(there + timedelta(seconds=seconds), usegmt=True)}
        headers["Date"] = format_datetime(there, usegmt=True)
        public_service.script("GET", ME, Scripted(status=503, headers=headers), FINE)
        client().request("GET", public_service.url + ME)
    assert waits == [9, 0]


@pytest.mark.parametrize("text", ["soon", "-5", "1e9", "nan", "", "99999999999999999999", "Wed, 99 Xyz"])
def test_pa_39_a_retry_after_that_is_none_is_left_aside(
    client: Client, public_service: PublicService, waits: list[float], text: str
) -> None:
    public_service.script("GET", ME, Scripted(status=503, headers={"Retry-After": text}), FINE)
    client().request("GET", public_service.url + ME)
    assert waits == [2]


@pytest.mark.parametrize(
    ("limit_s", "expected"), [(0, []), (5, [2]), (6, [2, 4]), (29, [2, 4, 8]), (30, [2, 4, 8, 16])]
)
def test_pa_39_the_waits_together_have_a_bound(
    client: Client, public_service: PublicService, waits: list[float], limit_s: float, expected: list[float]
) -> None:
    public_service.script("GET", ME, BROKEN, always=True)
    failure(lambda: client(retry_limit_s=limit_s).request("GET", public_service.url + ME))
    assert waits == expected


def test_pa_39_a_wait_beyond_the_bound_is_not_begun_and_the_hint_says_how_to(
    client: Client, public_service: PublicService, waits: list[float]
) -> None:
    public_service.script("GET", ME, Scripted(status=429, headers={"Retry-After": "120"}), FINE)
    error = failure(lambda: client().request("GET", public_service.url + ME))
    assert waits == []
    assert error.hint == "it asks to wait 120 s: export HUD_RETRY_LIMIT_S=120"


def test_who_waits_is_told_why(client: Client, public_service: PublicService) -> None:
    said: list[str] = []
    public_service.script("GET", ME, BROKEN, FINE)
    client(notice=said.append).request("GET", f"{public_service.url}{ME}?sig=secret")
    assert said == [f"GET {public_service.url}{ME} answered 503; trying again in 2 s"]


def test_a_deprecation_is_told_once(client: Client, public_service: PublicService) -> None:
    said: list[str] = []
    http = client(notice=said.append)
    headers = {"Deprecation": "true", "Sunset": "Wed, 11 Nov 2026 00:00:00 GMT"}
    public_service.script("GET", ME, Scripted(headers=headers), always=True)
    http.request("GET", public_service.url + ME)
    http.request("GET", public_service.url + ME)
    assert said == ["the platform announces a change (deprecation: true; sunset: Wed, 11 Nov 2026 00:00:00 GMT)"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "message"),
    [
        (401, {"detail": "Invalid API key"}, NotAuthorisedError, 4, "invalid API key"),
        (401, None, NotAuthorisedError, 4, "{url} does not accept the API key"),
        (403, None, NotAuthorisedError, 4, "the API key may not GET {url}/v2/auth/me"),
        (404, {"detail": "Build not found."}, NotFoundError, 1, "build not found"),
        (404, b"<html>", NotFoundError, 1, "there is nothing at {url}/v2/auth/me"),
        (409, {"detail": "a taskset of another project"}, PlatformError, 1, "a taskset of another project"),
        (500, b"Internal Server Error", PlatformError, 1, "GET {url}/v2/auth/me answered 500"),
        (400, {"detail": ["one", "two"]}, PlatformError, 1, "one; two"),
        (400, {"detail": {"message": "Quota used up"}}, PlatformError, 1, "quota used up"),
        (400, {"detail": {"error": "x"}}, PlatformError, 1, '{{"error": "x"}}'),
        (400, {"error": "x"}, PlatformError, 1, "GET {url}/v2/auth/me answered 400"),
        (400, [1], PlatformError, 1, "GET {url}/v2/auth/me answered 400"),
        (400, {"detail": "row a: unknown\nrow b: unknown"}, PlatformError, 1, "row a: unknown\nrow b: unknown"),
    ],
)
def test_a_refusal_says_what_the_platform_says(
    client: Client,
    public_service: PublicService,
    status: int,
    body: object,
    kind: type[HudError],
    code: int,
    message: str,
) -> None:
    public_service.script("GET", ME, Scripted(status=status, body=body))
    error = failure(lambda: client().request("GET", public_service.url + ME))
    assert type(error) is kind
    assert error.exit_code == code
    assert str(error) == message.format(url=public_service.url)


def test_a_validation_error_names_the_field(client: Client, public_service: PublicService) -> None:
    detail = [
        {"loc": ["body", "tasks", 0, "name"], "msg": "Field required", "type": "missing"},
        {"msg": "Input should be a valid list", "type": "list"},
    ]
    public_service.script("GET", ME, Scripted(status=422, body={"detail": detail}))
    error = failure(lambda: client().request("GET", public_service.url + ME))
    assert str(error) == "body.tasks.0.name: field required; input should be a valid list"


def test_the_platforms_own_hint_is_passed_on(client: Client, public_service: PublicService) -> None:
    body = {"detail": "the key 'ci' may read, and this needs write", "code": "permission_denied", "hint": "make one"}
    public_service.script("GET", ME, Scripted(status=403, body=body))
    assert failure(lambda: client().request("GET", public_service.url + ME)).hint == "make one"


def test_no_message_shows_the_key_or_moves_the_cursor(client: Client, public_service: PublicService) -> None:
    detail = f"\033[2Jthe key {KEY} is \x07unknown" + "x" * 10_000
    public_service.script("GET", ME, Scripted(status=400, body={"detail": detail}))
    message = str(failure(lambda: client().request("GET", public_service.url + ME)))
    assert KEY not in message
    assert message.startswith("�[2Jthe key … is �unknown")
    assert len(message) < 5000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(client: Client, public_service: PublicService, status: int) -> None:
    headers = {"Location": "https://user:pw@elsewhere.test/v2?token=secret"}
    public_service.script("GET", ME, Scripted(status=status, headers=headers))
    error = failure(lambda: client().request("GET", public_service.url + ME))
    assert str(error) == (
        f"GET {public_service.url}{ME} is redirected to https://elsewhere.test/v2, and redirects are not followed"
    )
    assert len(public_service.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_storage_gets_no_key_and_its_refusal_shows_no_signature(
    client: Client, public_service: PublicService, status: int
) -> None:
    public_service.script("PUT", "/store/1", Scripted(status=status, body=b"<Error>SignatureDoesNotMatch</Error>"))
    url = f"{public_service.url}/store/1?sig=s3cr3t"
    error = failure(lambda: client().request("PUT", url, content=b"x", with_key=False))
    assert type(error) is PlatformError
    assert str(error) == f"PUT {public_service.url}/store/1 answered {status}"
    assert error.hint == "run the command again: the address may have expired"
    assert "authorization" not in public_service.requests[0].headers


def test_a_body_in_pieces_travels_with_its_length(client: Client, public_service: PublicService) -> None:
    pieces = [b"a" * 70_000, b"", b"b" * 30_000]
    public_service.script("PUT", "/x", FINE)
    client().request("PUT", public_service.url + "/x", content=iter(pieces), size_bytes=100_000)
    (request,) = public_service.requests
    assert request.headers["content-length"] == "100000"
    assert "transfer-encoding" not in request.headers
    assert request.body == b"".join(pieces)


def test_a_body_that_can_be_read_twice_is_sent_twice(client: Client, public_service: PublicService) -> None:
    for content in ([b"ab", b"c"], lambda: iter([b"ab", b"c"])):
        public_service.script("PUT", "/x", BROKEN, DROP, FINE)
        client().request("PUT", public_service.url + "/x", content=content, size_bytes=3)
    assert [request.body for request in public_service.requests] == [b"abc"] * 6


def test_a_body_that_is_used_up_is_not_sent_again(client: Client, public_service: PublicService) -> None:
    public_service.script("PUT", "/x", BROKEN, FINE)
    failure(lambda: client().request("PUT", public_service.url + "/x", content=iter([b"abc"]), size_bytes=3))
    assert len(public_service.requests) == 1


def test_a_file_that_changed_while_it_was_sent_is_an_error_of_its_own(
    client: Client, public_service: PublicService, waits: list[float]
) -> None:
    url = public_service.url + "/x"
    for pieces in ([b"ab", b"c"], [b"abc", b"def"], []):
        error = failure(lambda sent=pieces: client().request("PUT", url, content=sent, size_bytes=5))  # type: ignore[misc]
        assert str(error) == f"what PUT {url} sends is not the 5 bytes that were announced"
    assert waits == []


def test_a_refusal_in_the_middle_of_a_large_body_is_heard(client: Client, garbler: Callable[[bytes], str]) -> None:
    body = b'{"detail":"too large"}'
    url = garbler(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    pieces = (b"x" * 65536 for _ in range(200))
    error = failure(lambda: client(retry_limit_s=0).request("PUT", url, content=pieces, size_bytes=200 * 65536))
    # Where the other side's reset overtakes its words, what is left is that the connection broke.
    assert isinstance(error, PlatformError | UnreachableError)


def test_a_download_comes_in_pieces(client: Client, public_service: PublicService, waits: list[float]) -> None:
    content = bytes(range(256)) * 4000
    public_service.script("GET", "/x", BROKEN, Scripted(body=content))
    with client().download(public_service.url + "/x") as download:
        assert download.size_bytes == len(content)
        assert b"".join(download.chunks) == content
    assert waits == [2]


def test_a_download_that_breaks_is_an_error_of_ours(client: Client, public_service: PublicService) -> None:
    public_service.script("GET", "/x", Scripted(drop="middle"))
    with client().download(public_service.url + "/x") as download, pytest.raises(UnreachableError, match="broke off"):
        list(download.chunks)


def test_a_download_that_is_refused_says_why(client: Client, public_service: PublicService) -> None:
    public_service.script("GET", "/x", Scripted(status=404, body={"detail": "No such backup"}))
    with pytest.raises(NotFoundError, match="no such backup"), client().download(public_service.url + "/x"):
        pass


def test_nothing_that_listens_is_unreachable(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    error = failure(lambda: client(retry_limit_s=0).request("GET", url + ME))
    assert isinstance(error, UnreachableError)
    assert (error.exit_code, error.kind) == (3, "unreachable")
    assert str(error) == f"{url} does not answer: connection refused"
    assert error.hint == "start the platform of this machine: hud platform up"


def test_a_host_that_has_no_address_is_unreachable(client: Client) -> None:
    error = failure(lambda: client(retry_limit_s=0).request("GET", "http://nowhere.invalid/v2/x"))
    assert isinstance(error, UnreachableError)
    assert str(error).startswith("http://nowhere.invalid does not answer: ")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff garbage\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 abc\r\n\r\n"]
)
def test_what_speaks_no_http_is_unreachable(client: Client, garbler: Callable[[bytes], str], content: bytes) -> None:
    url = garbler(content)
    error = failure(lambda: client(retry_limit_s=0).request("GET", url + ME))
    assert isinstance(error, UnreachableError)


def test_a_platform_without_tls_is_unreachable_by_https(client: Client, public_service: PublicService) -> None:
    url = public_service.url.replace("http:", "https:")
    error = failure(lambda: client(retry_limit_s=0).request("GET", url + ME))
    assert isinstance(error, UnreachableError)
    assert str(error).startswith(f"{url} does not answer: [SSL")


@pytest.mark.parametrize("url", ["ftp://host/x", "http://[::1/x", "http://host:port/x", "//host", "http://h\n/x"])
def test_an_address_that_is_none_is_a_usage_error(client: Client, url: str) -> None:
    assert isinstance(failure(lambda: client().request("GET", url)), UsageError)


def test_this_machine_is_reached_past_a_proxy(
    client: Client, public_service: PublicService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    public_service.script("GET", ME, FINE)
    assert client().request("GET", public_service.url + ME).status == 200


def test_a_proxy_that_is_none_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy")
    with pytest.raises(UsageError, match="the proxy of the environment cannot be used"):
        Http()


def test_one_call_is_sent_as_it_is_whatever_the_answer(client: Client, public_service: PublicService) -> None:
    public_service.script("POST", "/auth/device/token", BROKEN)
    reply = client().exchange("POST", public_service.url + "/auth/device/token", content=b"{}", headers={}, timeout_s=5)
    assert reply.status == 503
    assert "authorization" not in public_service.requests[0].headers
