"""`hud env`: environments by name, their versions, and the way back to one of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.bench import base_image, require_docker
from tests.hud_cli.conftest import Done, Hud
from tests.hud_platform.uploading import make_environment
from tests.platform_process import PlatformProcess
from tests.stand_in import PublicService

UNKNOWN = "99999999-9999-4999-8999-999999999999"


def names(done: Done) -> list[str]:
    return [row["name"] for row in json.loads(done.out)]


def test_a_list_is_objects_with_name_version_and_digest(hud: Hud, platform: PlatformProcess) -> None:
    name = make_environment(platform, {"count": None})
    rows = json.loads(hud("env", "list", "--json", **platform.settings).out)
    (row,) = [row for row in rows if row["name"] == name]
    assert set(row) == {"name", "id", "version", "digest", "uri", "created_at"}
    assert row["version"] == 1
    assert row["digest"].startswith("sha256:")
    assert name in hud("env", "list", "--quiet", **platform.settings).out.splitlines()
    assert f"{name}  " in hud("env", "list", **platform.settings).out


def test_an_environment_is_shown_by_name_and_by_id(hud: Hud, platform: PlatformProcess) -> None:
    name = make_environment(platform, {"count": None, "spell": None})
    by_name = json.loads(hud("env", "show", name.upper().replace("-", "_"), "--json", **platform.settings).out)
    by_id = json.loads(hud("env", "show", by_name["id"].replace("-", ""), "--json", **platform.settings).out)
    assert by_name == by_id
    (version,) = by_name["versions"]
    assert (version["version"], version["current"], version["tasks"]) == (1, True, ["count", "spell"])


@pytest.mark.parametrize("verb", ["show", "rollback"])
def test_an_environment_that_is_not_there_is_said(hud: Hud, platform: PlatformProcess, verb: str) -> None:
    for reference in ("no-such-environment", UNKNOWN):
        done = hud("env", verb, reference, **platform.settings)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("Error: there is no environment ")


def test_without_an_earlier_version_there_is_no_way_back(hud: Hud, platform: PlatformProcess) -> None:
    name = make_environment(platform, {"count": None})
    done = hud("env", "rollback", name, "--yes", **platform.settings)
    assert (done.code, done.err) == (1, f"Error: {name} has no earlier version\nHint: hud env show {name}\n")
    assert hud("env", "rollback", name, "7", "--yes", **platform.settings).code == 1


def test_a_rollback_is_asked_about(hud: Hud, platform: PlatformProcess) -> None:
    name = make_environment(platform, {"count": None})
    done = hud("env", "rollback", name, "1", "--json", **platform.settings)
    assert done.code == 2
    assert json.loads(done.out)["message"] == f"nobody can be asked whether to run version 1 of {name} again"


def test_the_public_service_lists_environments_and_no_versions(hud: Hud, public_service: PublicService) -> None:
    public_service.add_environment("letter-env")
    assert names(hud("env", "list", "--json", **public_service.variables)) == ["letter-env"]
    shown = hud("env", "show", "letter-env", **public_service.variables)
    assert (shown.code, shown.out.split()[:3]) == (0, ["letter-env", "version", "1"])
    assert shown.err.endswith(f"{public_service.url} does not list versions.\n")
    back = hud("env", "rollback", "letter-env", "1", "--yes", **public_service.variables)
    assert back.code == 1
    assert back.err == (
        f"Error: {public_service.url} does not offer going back to an earlier version\n"
        "Hint: a platform of your own does: hud platform up\n"
    )


def test_a_platform_without_environments_says_how_to_make_one(hud: Hud, public_service: PublicService) -> None:
    done = hud("env", "list", **public_service.variables)
    assert (done.code, done.out, done.err) == (0, "", "There is no environment. Make one: hud deploy\n")
    assert hud("env", "list", "--json", **public_service.variables).out == "[]\n"


@pytest.mark.docker
def test_a_rollback_runs_an_earlier_image_as_the_next_version(
    hud: Hud, platform: PlatformProcess, make_environment_folder: Callable[..., Path], variables: dict[str, str]
) -> None:
    require_docker()
    folder = make_environment_folder()
    name = folder.name
    deploy = ("deploy", str(folder), "--build-arg", f"BASE_IMAGE={base_image()}", "--json")
    first = json.loads(hud(*deploy, **platform.settings).out)
    with (folder / "env.py").open("a") as file:
        file.write("# changed\n")
    assert json.loads(hud(*deploy, **platform.settings).out)["digest"] != first["digest"]
    terminal = pexpect.spawn(
        sys.executable, ["-m", "hud_cli", "env", "rollback", name], env={**variables, **platform.settings}, timeout=20
    )
    terminal.expect_exact(f"Run version 1 of {name} again? [y/N] ")
    terminal.sendline("y")
    terminal.expect_exact(f"{name} runs the image of version 1 again, as version 3.")
    versions = json.loads(hud("env", "show", name, "--json", **platform.settings).out)["versions"]
    assert [version["digest"] == first["digest"] for version in versions] == [True, False, True]
    assert (versions[0]["rolled_back_to"], versions[0]["current"]) == (1, True)
