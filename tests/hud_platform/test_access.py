"""Who may call what: every route of the running platform is asked (PA-02)."""

from __future__ import annotations

import re
import uuid

import httpx
import pytest

from tests.platform_process import PlatformProcess

OPEN = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/device"),
    ("POST", "/device"),
    ("POST", "/auth/device/code"),
    ("POST", "/auth/device/token"),
    ("POST", "/v3/api/sdk-events/cli"),
    ("POST", "/v2/sdk-events/cli"),
    ("POST", "/sdk-events/cli"),
}
PRESIGNED = re.compile(r"/uploads/[^/]*")
READING_BY_POST = re.compile(r"/v2/tasksets/[^/]*/rows")


def routes(platform: PlatformProcess) -> list[tuple[str, str]]:
    """Give every method and path that the platform describes, with ids and numbers that nothing has."""
    document = platform.as_key(None).get("/docs/openapi.json").json()
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            filled = path
            for parameter in operation.get("parameters", []):
                value = "7" if parameter["schema"].get("type") == "integer" else uuid.uuid4().hex
                filled = filled.replace(f"{{{parameter['name']}}}", value)
            found.append((method.upper(), filled))
    return found


def test_pa_02_every_route_but_the_open_ones_wants_a_key(platform: PlatformProcess) -> None:
    asked = routes(platform)
    nobody = platform.as_key(None)
    answers = {
        (method, path): nobody.request(method, path)
        for method, path in asked
        if (method, path) not in OPEN and not PRESIGNED.fullmatch(path)
    }

    assert len(answers) >= 8
    assert {call for call, reply in answers.items() if reply.status_code != 401} == set()
    assert all(isinstance(reply.json()["detail"], str) for reply in answers.values())


@pytest.mark.parametrize(
    "header",
    ["Bearer hud_wrong", "Bearer", "Basic dTpw", "hud_wrong", "Bearer " + "x" * 5000, "Bearer \u00e9", ""],
    ids=["wrong", "empty", "basic", "bare", "long", "latin", "blank"],
)
def test_pa_02_a_wrong_key_is_401_with_a_sentence(platform: PlatformProcess, header: str) -> None:
    reply = platform.as_key(None).get("/v2/auth/me", headers={b"Authorization": header.encode("latin-1")})

    assert reply.status_code == 401
    assert isinstance(reply.json()["detail"], str)
    assert reply.json()["code"] == "permission_denied"
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("read", "GET", "/v2/projects", 200),
        ("read", "POST", "/v2/projects", 403),
        ("read", "GET", "/v2/keys", 403),
        ("read", "DELETE", "/v2/keys/x", 403),
        ("write", "POST", "/v2/projects", 201),
        ("write", "GET", "/v2/keys", 403),
        ("write", "POST", "/v2/keys", 403),
        ("admin", "GET", "/v2/keys", 200),
    ],
)
def test_a_scope_reaches_so_far_and_no_further(
    platform: PlatformProcess, scope: str, method: str, path: str, status: int
) -> None:
    body = {"name": f"p-{uuid.uuid4().hex}"} if method == "POST" else None
    reply = platform.as_key(platform.mint(scope)).request(method, path, json=body)

    assert reply.status_code == status, reply.text
    if status == 403:
        assert reply.json()["code"] == "permission_denied"
        assert scope in reply.json()["detail"]


def test_a_stolen_key_that_only_reads_changes_nothing(platform: PlatformProcess) -> None:
    thief = platform.as_key(platform.mint("read"))
    changing = [(method, path) for method, path in routes(platform) if method != "GET" and (method, path) not in OPEN]
    answers = {
        call: thief.request(*call).status_code
        for call in changing
        if not PRESIGNED.fullmatch(call[1]) and not READING_BY_POST.fullmatch(call[1])
    }

    assert {call for call, status in answers.items() if status != 403} == set()


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_other_ways_to_read_want_a_key_too(platform: PlatformProcess, method: str) -> None:
    assert platform.as_key(None).request(method, "/v2/projects").status_code in (401, 405)


def test_pa_14_no_key_is_in_the_log(platform: PlatformProcess) -> None:
    key = platform.mint("read")
    platform.as_key(key).post("/v2/projects", json={"name": "no"})
    platform.as_key(None).get("/v2/nothing", params={"api_key": key})
    with httpx.Client(base_url=platform.url) as client:
        client.delete(f"/v2/projects?api_key={key}")

    assert "/v2/nothing" in platform.log()
    assert key not in platform.log()
    assert key not in platform.stderr()
