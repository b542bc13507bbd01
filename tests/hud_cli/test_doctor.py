"""`hud doctor`: one line a thing, a hint for what is missing, and an exit code that says what matters."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hud.version import __version__
from hud_cli import doctor
from tests import bench
from tests.hud_cli.conftest import Hud, closed_port
from tests.platform_process import PlatformProcess

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Start a server that gives each path its status and body, 404 for others; give its address."""
    with ExitStack() as stack:

        def start(replies: dict[str, tuple[int, str]] | None = None) -> str:
            class Answering(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    status, body = (replies or {}).get(self.path, (404, ""))
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body.encode())

                def log_message(self, *_: object) -> None:
                    pass

            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Answering))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def findings(hud: Hud, **variables: str) -> dict[str, dict[str, str | None]]:
    done = hud("doctor", "--json", **variables)
    document = json.loads(done.out)
    assert done.code == (0 if document["ok"] else 1)
    return {finding["name"]: finding for finding in document["findings"]}


def test_the_screen_has_a_line_a_thing_and_a_hint_for_what_is_missing(hud: Hud) -> None:
    done = hud("doctor", **NOWHERE)
    assert done.code == 0  # no engine is needed to run tasks on local processes
    assert "ok      Python         3." in done.out
    assert "missing Docker engine  no Docker engine answers at unix:///nowhere/docker.sock (DOCKER_HOST)\n" in done.out
    assert "missing API key        HUD_API_KEY is not set\n" in done.out
    assert len(done.out.splitlines()) <= 24
    for missing in [line for line in done.out.splitlines() if line.startswith("missing")]:
        after = done.out.split(missing + "\n")[1]
        assert after.startswith(" " * 23)


@pytest.mark.docker
def test_a_running_engine_is_described(hud: Hud) -> None:
    bench.require_docker()
    found = findings(hud)
    assert found["Docker engine"]["status"] == "ok"
    assert "API " in str(found["Docker engine"]["detail"])
    assert found["BuildKit"]["status"] == "ok"
    assert found["Docker disk"]["status"] in ("ok", "warn")


def test_a_key_is_found_where_settings_are_and_never_shown(hud: Hud, source: Path, variables: dict[str, str]) -> None:
    port = closed_port()
    url = {"HUD_API_URL": f"http://127.0.0.1:{port}"}
    (Path(variables["HOME"]) / ".hud").mkdir()
    (Path(variables["HOME"]) / ".hud" / ".env").write_text("# settings\nHUD_API_KEY='sk-home'\n")
    assert findings(hud, **NOWHERE, **url)["API key"]["status"] == "ok"
    (source / ".env").write_text("export HUD_API_KEY=sk-here # mine\n")
    done = hud("doctor", **NOWHERE, **url)
    assert "sk-" not in done.out + done.err


def test_a_platform_is_asked_only_when_one_is_configured(hud: Hud, answering: Callable[..., str]) -> None:
    assert findings(hud, **NOWHERE)["platform"]["detail"] == "none is configured"
    public = answering()
    for key in ({}, {"HUD_API_KEY": "k"}):
        found = findings(hud, **NOWHERE, HUD_API_URL=public, **key)["platform"]
        assert (found["status"], found["detail"]) == ("ok", f"{public}: answers")


def test_our_own_platform_says_what_it_is_and_whether_it_takes_the_key(hud: Hud, platform: PlatformProcess) -> None:
    engine = platform.client.get("/ready").json()["engine"]
    found = findings(hud, HUD_API_URL=platform.url, HUD_API_KEY=platform.key or "")["platform"]
    if engine == "ok":
        said = f"{platform.url}: hud-platform {__version__} is ready and accepts the key"
        assert (found["status"], found["detail"]) == ("ok", said)
    else:
        assert (found["status"], found["detail"]) == ("warn", f"{platform.url} is ready, but cannot build: {engine}")
    refused = findings(hud, HUD_API_URL=platform.url, HUD_API_KEY="hud_stale")["platform"]
    assert (refused["status"], refused["hint"]) == ("warn", "hud login, or set HUD_API_KEY")


def test_a_platform_that_is_not_ready_says_why(hud: Hud, answering: Callable[..., str]) -> None:
    url = answering({"/ready": (503, '{"status": "not ready", "database": "ok", "disk": "it is full"}')})
    found = findings(hud, **NOWHERE, HUD_API_URL=url)["platform"]
    assert (found["status"], found["detail"]) == ("warn", f"{url} is not ready (disk: it is full)")


def test_a_platform_that_never_answers_is_given_up(hud: Hud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = findings(hud, **NOWHERE, HUD_API_URL=url)["platform"]
    assert found["status"] == "warn"
    assert url in str(found["detail"])


def test_an_address_of_the_folder_for_a_key_from_elsewhere_is_told(hud: Hud, source: Path) -> None:
    """PA, weakness 21."""
    (source / ".env").write_text("HUD_API_URL=http://127.0.0.1:1\n")
    found = findings(hud, **NOWHERE, HUD_API_KEY="k")["platform"]
    assert (found["status"], str(found["detail"])[:31]) == ("warn", "./.env sends the key of the env")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:{port}", "{url} does not answer: connection refused"),
        ("ftp://x", "HUD_API_URL of the environment is no http address: 'ftp://x'"),
    ],
)
def test_a_platform_that_does_not_answer_is_a_warning(hud: Hud, url: str, problem: str) -> None:
    url = url.format(port=closed_port())
    found = findings(hud, **NOWHERE, HUD_API_URL=url)["platform"]
    assert (found["status"], found["detail"]) == ("warn", problem.format(url=url))


def test_what_it_looks_for_is_what_the_project_needs() -> None:
    import tomli

    project = tomli.loads((bench.ROOT / "pyproject.toml").read_text())["project"]
    for declared, known in (
        (project["dependencies"], doctor.DEPENDENCIES),
        (project["optional-dependencies"]["platform"], doctor.PLATFORM_DEPENDENCIES),
    ):
        assert sorted(re.split(r"[<>=;]", item)[0].replace("-", "_") for item in declared) == sorted(known)
