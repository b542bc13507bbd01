"""`hud project`: list, create, and the choice that a folder keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hud_cli.conftest import Done, Hud
from tests.stand_in import TEAM, USER, PublicService


@pytest.fixture
def project(hud: Hud, public_service: PublicService) -> Hud:
    """Run `hud project …` with the service's key."""

    def run(*words: str, **extra: str) -> Done:
        return hud("project", *words, **{**public_service.variables, "HUD_RETRY_LIMIT_S": "0", **extra})

    return run


def test_projects_are_listed_with_what_matters_of_each(project: Hud, public_service: PublicService) -> None:
    ids = [public_service.add_project("demo", default=True), public_service.add_project("locked", create=False)]
    done = project("list")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"  demo    {ids[0]}  default\n  locked  {ids[1]}  read only\n"
    assert project("list", "--quiet").out == f"{ids[0]}\n{ids[1]}\n"
    assert [row["name"] for row in json.loads(project("list", "--json").out)] == ["demo", "locked"]


def test_where_there_is_none_the_list_says_how_to_make_one(project: Hud) -> None:
    done = project("list")
    assert (done.code, done.out, done.err) == (0, "", "There is no project. Make one: hud project create NAME\n")
    assert json.loads(project("list", "--json").out) == []


def test_a_project_is_made(project: Hud, public_service: PublicService) -> None:
    done = project("create", "My Proj", "--description", "d", "--json")
    assert json.loads(done.out)["name"] == "my-proj"
    assert public_service.calls("POST")[0].json == {"name": "My Proj", "description": "d"}
    again = project("create", "My Proj")
    assert (again.code, again.err) == (1, "Error: a project named my-proj already exists\n")


def test_a_choice_is_kept_in_the_folder_with_whose_it_is(
    project: Hud, public_service: PublicService, source: Path
) -> None:
    chosen = public_service.add_project("demo")
    done = project("use", "Demo")
    assert (done.code, done.err) == (0, f".hud/config.json uses the project demo ({chosen}) now.\n")
    document = json.loads((source / ".hud" / "config.json").read_text())
    assert document["project_id"] == chosen
    assert document["scope"] == {"origin": public_service.url, "user_id": USER, "team_id": TEAM}
    assert project("list").out.startswith("* demo")


def test_another_folder_can_be_named(project: Hud, public_service: PublicService, tmp_path: Path) -> None:
    chosen = public_service.add_project("demo")
    assert project("use", "demo", "-C", str(tmp_path), "--quiet").out == f"{chosen}\n"
    assert (tmp_path / ".hud" / "config.json").exists()
    assert project("list", "-C", str(tmp_path)).out.startswith("*")


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        ("nope", 1, "there is no project 'nope'"),
        ("twice", 2, "several projects are named 'twice'"),
        ("locked", 4, "the key may not deploy or sync into the project 'locked'"),
        ("!", 2, "'!' is no project's name"),
    ],
)
def test_a_project_that_cannot_be_used_is_not_kept(
    project: Hud, public_service: PublicService, source: Path, reference: str, code: int, message: str
) -> None:
    for name in ("twice", "twice", "locked"):
        public_service.add_project(name, create=name != "locked")
    done = project("use", reference, "--json")
    assert (done.code, json.loads(done.out)["message"]) == (code, message)
    assert not (source / ".hud").exists()


def test_a_folder_of_another_team_is_left_alone(project: Hud, public_service: PublicService, source: Path) -> None:
    public_service.add_project("demo")
    project("use", "demo")
    before = (source / ".hud" / "config.json").read_bytes()
    public_service.identity["team_id"] = USER
    done = project("use", "demo")
    assert done.code == 1
    assert done.err.startswith("Error: .hud/config.json links to ")
    assert "Hint: use that platform's key, or unlink the folder: rm .hud/config.json\n" in done.err
    assert (source / ".hud" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "message"), [("", "there is no API key: HUD_API_KEY is not set"), ("wrong", "invalid")]
)
def test_without_a_key_that_is_accepted_nothing_works(project: Hud, key: str, message: str) -> None:
    for words in (["list"], ["create", "x"], ["use", "x"]):
        done = project(*words, HUD_API_KEY=key)
        assert done.code == 4
        assert f"Error: {message}" in done.err


def test_weakness_21_a_folder_cannot_have_the_key_sent_to_its_own_host(
    hud: Hud, public_service: PublicService, source: Path
) -> None:
    (source / ".env").write_text(f"HUD_API_URL={public_service.url}\n")
    done = hud("project", "list", HUD_API_KEY="mine")
    assert done.code == 2
    assert f"./.env sends the key of the environment to {public_service.url} (HUD_API_URL)" in done.err
    assert public_service.requests == []
