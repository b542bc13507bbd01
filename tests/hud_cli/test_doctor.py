"""`hud doctor`: one line a thing, a hint for what is missing, and an exit code that says what matters."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests import bench
from tests.hud_cli.conftest import Hud, closed_port

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@pytest.fixture
def platform() -> Iterator[str]:
    class Silent(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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


def test_a_platform_is_asked_only_when_one_is_configured(hud: Hud, platform: str) -> None:
    assert findings(hud, **NOWHERE)["platform"]["detail"] == "none is configured"
    found = findings(hud, **NOWHERE, HUD_API_URL=platform)["platform"]
    assert (found["status"], found["detail"]) == ("ok", f"{platform}: answers")


@pytest.mark.parametrize(
    ("url", "problem"), [("http://127.0.0.1:{port}", "Connection refused"), ("ftp://x", "no http address")]
)
def test_a_platform_that_does_not_answer_is_a_warning(hud: Hud, url: str, problem: str) -> None:
    url = url.format(port=closed_port())
    found = findings(hud, **NOWHERE, HUD_API_URL=url)["platform"]
    assert (found["status"], found["detail"]) == ("warn", f"{url}: {problem}")
