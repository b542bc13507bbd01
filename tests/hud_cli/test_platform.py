"""`hud platform …` as users type it: up, down, status, logs, keys, backup."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hud_platform.storage.data_folder import DataFolder, holder
from tests.hud_cli.conftest import Done, Hud, read_until
from tests.platform_process import PlatformProcess

Platform = Callable[..., Done]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def platform_command(hud: Hud, data: Path) -> Iterator[Platform]:
    """Run `hud platform WORDS --data …`; what it leaves running is stopped at the end."""

    def run(*words: str, **extra: str) -> Done:
        return hud("platform", *words, "--data", str(data), **extra)

    yield run
    if holder(DataFolder(root=data)):
        run("down")


@pytest.fixture
def up(platform_command: Platform) -> dict[str, Any]:
    """A platform that was started apart, as its `--json` line tells it."""
    started = platform_command("up", "--detach", "--port", "0", "--json", "--no-settings")
    assert started.code == 0, started.out + started.err
    document: dict[str, Any] = json.loads(started.out)
    return document


@pytest.fixture
def on_shared(hud: Hud, platform: PlatformProcess) -> Platform:
    """Run `hud platform WORDS --data …` on the platform that tests share, which goes on running."""

    def run(*words: str) -> Done:
        return hud("platform", *words, "--data", str(platform.data))

    return run


def get(url: str, key: str | None) -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {key}"} if key else {})


def test_up_detached_returns_when_it_is_ready(up: dict[str, Any], data: Path) -> None:
    assert set(up) == {"url", "key", "data", "pid"}
    assert up["data"] == str(data)
    assert get(f"{up['url']}/v2/auth/me", up["key"]).json()["scope"] == "admin"
    os.kill(up["pid"], 0)


def test_up_writes_the_clients_settings(platform_command: Platform, variables: dict[str, str]) -> None:
    started = platform_command("up", "--detach", "--port", "0", "--json")
    document = json.loads(started.out)
    settings = Path(variables["HOME"], ".hud", ".env")
    lines = dict(line.partition("=")[::2] for line in settings.read_text().splitlines() if "=" in line)

    assert settings.stat().st_mode & 0o777 == 0o600
    assert lines["HUD_API_KEY"] == document["key"]
    assert lines["HUD_TELEMETRY_URL"] == f"{document['url']}/v3/api"
    for service in ("API", "WEB", "RUNTIME", "GATEWAY", "RL"):
        assert lines[f"HUD_{service}_URL"] == document["url"]


def test_up_keeps_the_settings_of_another_platform(platform_command: Platform, variables: dict[str, str]) -> None:
    folder = Path(variables["HOME"], ".hud")
    folder.mkdir()
    (folder / ".env").write_text("HUD_API_KEY=sk-of-the-service\nMINE=1\n")
    started = platform_command("up", "--detach", "--port", "0")
    kept = folder / ".env.before-platform"

    assert started.code == 0
    assert kept.read_text() == "HUD_API_KEY=sk-of-the-service\nMINE=1\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert f"mv {kept} {folder / '.env'}" in started.err
    assert "MINE=1" in (folder / ".env").read_text()
    assert "sk-of-the-service" not in (folder / ".env").read_text()


def test_up_again_keeps_nothing_twice(platform_command: Platform, variables: dict[str, str]) -> None:
    first = json.loads(platform_command("up", "--detach", "--port", "0", "--json").out)
    platform_command("down")
    second = json.loads(platform_command("up", "--detach", "--port", "0", "--json").out)

    assert second["key"] == first["key"]
    assert os.listdir(Path(variables["HOME"], ".hud")) == [".env"]


def test_no_settings_leaves_them_alone(up: dict[str, Any], variables: dict[str, str]) -> None:
    assert not Path(variables["HOME"], ".hud").exists()


def test_up_without_a_home_still_runs(platform_command: Platform) -> None:
    started = platform_command("up", "--detach", "--port", "0", "--json", "--no-settings", HOME="/nowhere/at/all")

    assert started.code == 0, started.out


def test_a_second_up_names_the_first(on_shared: Platform, platform: PlatformProcess) -> None:
    second = on_shared("up", "--port", "0", "--no-settings")
    apart = on_shared("up", "--port", "0", "--no-settings", "--detach", "--json")

    assert second.code == 1
    assert f"a server (process {platform.pid}) has the data folder" in second.err
    assert "Hint: hud platform down, or --data with another folder" in second.err
    assert apart.code == 1
    assert f"process {platform.pid}" in json.loads(apart.out)["message"]
    assert platform.client.get("/health").status_code == 200


@pytest.mark.parametrize("words", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_port_that_is_taken_is_named(platform_command: Platform, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = platform_command("up", "--port", str(port), "--no-settings", *words)

    assert refused.code == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in refused.err
    assert "Hint: --port 0 takes a free one" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--port", "70000"), 3, "70000 is no port"),
        (("--port", "-1"), 2, "should be greater than or equal to 0"),
        (("--host", "192.0.2.1", "--port", "0"), 3, "cannot listen on 192.0.2.1:0"),
        (("--url", "hud.example.org"), 2, "'hud.example.org' is no address of a platform"),
        (("--builds", "0"), 2, "should be greater than or equal to 1"),
        (("--database", "mysql://root@localhost/x", "--port", "0"), 2, "'mysql' is no database for a platform"),
        (("--database", "nonsense", "--port", "0"), 2, "the database's address is none"),
        (("--database", "postgresql://127.0.0.1:1/none", "--port", "0"), 3, "the database does not answer"),
    ],
    ids=["port", "negative", "host", "url", "builds", "mysql", "nonsense", "unreachable"],
)
def test_what_cannot_be_is_refused_in_one_line(
    platform_command: Platform, words: tuple[str, ...], code: int, message: str
) -> None:
    refused = platform_command("up", "--no-settings", *words)

    assert refused.code == code, refused.err
    assert message in refused.err
    assert "Traceback" not in refused.err
    assert refused.out == ""


def test_a_data_folder_that_cannot_be_made_is_named(hud: Hud, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words in ((), ("--detach",)):
        refused = hud("platform", "up", "--data", str(tmp_path / "file" / "data"), "--no-settings", *words)
        assert refused.code == 1
        assert "cannot be written: Not a directory" in refused.err


def test_a_host_that_others_reach_is_warned_about(platform_command: Platform) -> None:
    started = platform_command("up", "--detach", "--host", "0.0.0.0", "--port", "0", "--json", "--no-settings")

    assert "keys travel to it in clear" in started.err
    assert json.loads(started.out)["url"].startswith("http://127.0.0.1:")


def test_in_the_foreground_it_says_what_to_do_and_ends_with_ctrl_c(
    data: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    words = ["platform", "up", "--data", str(data), "--port", "0"]
    with subprocess.Popen([sys.executable, "-m", "hud_cli", *words], env=variables, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = read_until(process.stderr.fileno(), b"Ctrl-C stops it.").decode()
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        code = process.wait(20)

    assert code == 0
    for words_of_it in ("The platform is ready at http://127.0.0.1:", "key    hud_", f"data   {data}", "hud deploy"):
        assert words_of_it in said


def test_down_stops_it_and_says_so(up: dict[str, Any], platform_command: Platform) -> None:
    stopped = platform_command("down", "--json")
    again = platform_command("down")

    assert json.loads(stopped.out) == {"stopped": True, "pid": up["pid"]}
    with pytest.raises(httpx.ConnectError):
        get(f"{up['url']}/health", None)
    assert again.code == 0
    assert again.err == "No platform runs.\n"


def test_down_stops_no_stranger(platform_command: Platform, data: Path) -> None:
    """A description that outlived its server may name a process that is somebody else's by now."""
    data.mkdir()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data / "server.json").write_text(json.dumps({"url": "", "pid": stranger.pid, "data": "", "version": ""}))
        (data / "lock").write_text(f"{stranger.pid}\n")
        assert platform_command("down").err == "No platform runs.\n"
        assert stranger.poll() is None
        stranger.kill()


def test_status_tells_a_platform_that_runs_from_one_that_does_not(
    up: dict[str, Any], platform_command: Platform
) -> None:
    runs = platform_command("status", "--json")
    told = platform_command("status")
    platform_command("down")
    stands = platform_command("status", "--json")

    assert runs.code == 0
    assert json.loads(runs.out)["url"] == up["url"]
    assert json.loads(runs.out)["counts"]["keys"] == 1
    assert up["url"] in told.out
    assert stands.code == 1
    assert (json.loads(stands.out)["running"], json.loads(stands.out)["url"]) == (False, None)


def test_status_after_kill_9_is_not_running(up: dict[str, Any], platform_command: Platform, data: Path) -> None:
    os.kill(up["pid"], signal.SIGKILL)
    with subprocess.Popen(["sleep", "0.3"]):
        pass

    assert (data / "server.json").exists()  # nobody was there to remove it
    assert platform_command("status").code == 1
    assert platform_command("up", "--detach", "--port", "0", "--no-settings").code == 0


def test_a_damaged_description_is_not_believed(up: dict[str, Any], platform_command: Platform, data: Path) -> None:
    (data / "server.json").write_text("{")
    status = platform_command("status", "--json")

    assert status.code == 1
    assert json.loads(status.out)["running"]
    assert platform_command("down").code == 0


@pytest.mark.parametrize("words", [("down",), ("status",), ("logs",), ("key", "list"), ("backup", "x.tar")])
def test_where_no_platform_was_they_say_so(hud: Hud, tmp_path: Path, words: tuple[str, ...]) -> None:
    refused = hud("platform", *words, "--data", str(tmp_path / "nothing"))

    assert refused.code == 1
    assert "no platform has its data in" in refused.err
    assert "Hint: hud platform up" in refused.err


def test_logs_print_the_last_lines(on_shared: Platform, platform: PlatformProcess) -> None:
    for number in range(5):
        get(f"{platform.url}/missing-{number}", None)
    last = on_shared("logs", "-n", "2")

    assert [line.split()[5] for line in last.out.splitlines()] == ["/missing-3", "/missing-4"]
    assert len(json.loads(on_shared("logs", "--json").out)["lines"]) >= 6
    assert on_shared("logs", "-n", "0").out == ""


def test_logs_go_on_with_follow(platform: PlatformProcess, variables: dict[str, str]) -> None:
    words = ["platform", "logs", "--follow", "-n", "0", "--data", str(platform.data)]
    with subprocess.Popen([sys.executable, "-m", "hud_cli", *words], env=variables, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.poll() is None:
            get(f"{platform.url}/followed", None)
            if select.select([process.stdout], [], [], 0.5)[0]:
                break
        assert b"/followed" in read_until(process.stdout.fileno(), b"\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
def test_keys_are_made_listed_and_revoked(up: dict[str, Any], platform_command: Platform, runs: bool) -> None:
    if not runs:
        platform_command("down")
    made = platform_command("key", "create", "ci", "--scope", "read")
    key = made.out.strip()
    listed = json.loads(platform_command("key", "list", "--json").out)
    revoked = platform_command("key", "revoke", "ci")
    after = json.loads(platform_command("key", "list", "--all", "--json").out)

    assert made.code == 0
    assert key.startswith("hud_")
    assert [(record["name"], record["scope"]) for record in listed] == [("ci", "read"), ("admin", "admin")]
    assert revoked.code == 0
    assert after[0]["revoked_at"]
    assert key not in json.dumps(after)
    if runs:
        assert get(f"{up['url']}/v2/auth/me", key).status_code == 401


def test_who_has_the_folder_makes_keys_without_any(up: dict[str, Any], platform_command: Platform) -> None:
    assert platform_command("key", "revoke", "admin").code == 0
    made = platform_command("key", "create", "new", "--scope", "admin", "--json")

    assert made.code == 0, made.err
    assert get(f"{up['url']}/v2/auth/me", json.loads(made.out)["key"]).status_code == 200
    assert get(f"{up['url']}/v2/auth/me", up["key"]).status_code == 401


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("create", "x", "--scope", "root"), 2, "'root' is no scope"),
        (("create", ""), 2, "'' cannot name a key"),
        (("revoke", "nobody"), 1, "no live key is named 'nobody'"),
    ],
)
def test_a_key_command_that_cannot_be_says_why(
    on_shared: Platform, words: tuple[str, ...], code: int, message: str
) -> None:
    refused = on_shared("key", *words)

    assert refused.code == code
    assert message in refused.err


def test_backup_and_restore(on_shared: Platform, hud: Hud, tmp_path: Path) -> None:
    backed = on_shared("backup", str(tmp_path / "b.tar"), "--json")
    restored = hud("platform", "restore", str(tmp_path / "b.tar"), "--data", str(tmp_path / "other"))
    again = hud("platform", "restore", str(tmp_path / "b.tar"), "--data", str(tmp_path / "other"))

    assert json.loads(backed.out)["size_bytes"] == (tmp_path / "b.tar").stat().st_size
    assert restored.code == 0
    assert "Next: hud platform up" in restored.err
    assert again.code == 2
    assert "is not empty" in again.err


def test_a_missing_extra_is_told_in_one_line(platform_command: Platform, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import sys; sys.modules['litestar'] = None")
    refused = platform_command("up", PYTHONPATH=str(tmp_path / "without"))

    assert refused.code == 1
    assert "Hint: pip install 'hud-cli[platform]'" in refused.err
    assert "Traceback" not in refused.err


def test_variables_stand_for_options(platform_command: Platform, tmp_path: Path) -> None:
    started = platform_command(
        "up", "--detach", "--json", "--no-settings", HUD_PLATFORM_PORT="0", HUD_PLATFORM_URL="https://hud.example.org/"
    )

    assert json.loads(started.out)["url"] == "https://hud.example.org"


def test_the_shared_platform_is_one_of_these(platform: PlatformProcess, hud: Hud) -> None:
    assert hud("platform", "status", "--data", str(platform.data)).code == 0


def test_gc_says_what_would_go_and_removes_it(up: dict[str, Any], platform_command: Platform, data: Path) -> None:
    stray = data / "uploads" / "0b6a7a0e-91a3-4b7e-8a41-5d9b5a3cf0c4.tar.gz"
    stray.write_bytes(b"x" * 1000)
    os.utime(stray, (0, 0))
    httpx.post(f"{up['url']}/auth/device/code", json={})
    would = json.loads(platform_command("gc", "--dry-run", "--json").out)
    assert stray.exists()
    did = json.loads(platform_command("gc", "--json").out)

    assert (would["dry_run"], did["dry_run"]) == (True, False)
    assert would["uploads"] == did["uploads"] == {"count": 1, "size_bytes": 1000}
    assert did["logins"]["count"] == 0  # the one that waits is kept
    assert not stray.exists()
    assert get(f"{up['url']}/v2/auth/me", up["key"]).status_code == 200


def test_gc_tells_people_what_it_did(on_shared: Platform) -> None:
    told = on_shared("gc", "--dry-run")

    assert told.code == 0
    assert [line.split()[0] for line in told.out.splitlines()] == [
        *("contexts", "blobs", "uploads", "worktrees", "logs", "images", "logins")
    ]
    assert "Would remove" in told.err


def test_a_start_that_is_not_told_of_its_database_again_finds_it(hud: Hud, data: Path) -> None:
    """Else it would begin an empty one, and `gc` would take every blob for one that nothing needs."""
    data.mkdir()
    (data / "places.json").write_text('{"database_url": "postgresql://127.0.0.1:1/none", "blobs_url": null}')
    for words in (("up", "--port", "0", "--no-settings"), ("gc",), ("key", "list")):
        refused = hud("platform", *words, "--data", str(data))
        assert refused.code == 3
        assert "the database does not answer" in refused.err
    backup = hud("platform", "backup", "x.tar", "--data", str(data))
    assert "holds no database to back up" in backup.err
