"""Which project a command works in, and whose key it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hud import settings
from hud.errors import HudError, NotAuthorisedError, NotFoundError, PlatformError, UsageError
from hud.names import dashed, normalise
from hud.platform import identity, projects
from hud.platform.client import Platform
from hud.platform.link import Link
from tests.stand_in import TEAM, USER, PublicService, Scripted

UNLINKED = Link(folder=Path("folder"))


@pytest.fixture
def platform(public_service: PublicService) -> Iterator[Platform]:
    with Platform(settings.load({**public_service.variables, "HUD_RETRY_LIMIT_S": "0"})) as connected:
        yield connected


def configured(public_service: PublicService, project: str) -> settings.Settings:
    return settings.load({**public_service.variables, "HUD_DEFAULT_PROJECT": project})


def test_whose_key_it_is_has_dashed_ids(platform: Platform, public_service: PublicService) -> None:
    public_service.identity = {"user_id": USER.replace("-", ""), "team_id": TEAM.upper(), "plan": "unknown"}
    found = identity.me(platform)
    assert (found.user_id, found.team_id) == (USER, TEAM)
    scope = identity.scope(platform, found)
    assert (scope.origin, scope.user_id, scope.team_id) == (public_service.url, USER, TEAM)


def test_an_identity_that_is_no_id_is_refused(platform: Platform, public_service: PublicService) -> None:
    public_service.identity = {"user_id": "ada", "team_id": ""}
    with pytest.raises(PlatformError, match="says that the key is of 'ada' in '': these are no ids"):
        identity.me(platform)


def test_without_a_choice_nothing_is_asked_and_the_platform_decides(
    platform: Platform, public_service: PublicService
) -> None:
    assert projects.resolve_project(platform, None, UNLINKED, platform.settings) is None
    assert public_service.requests == []


def test_what_is_named_comes_before_the_folders_link_and_that_before_the_settings(
    platform: Platform, public_service: PublicService
) -> None:
    ids = {name: public_service.add_project(name) for name in ("named", "linked", "default")}
    linked = Link(folder=Path("folder"), project_id=ids["linked"])
    defaults = configured(public_service, "default")
    chosen = [
        projects.resolve_project(platform, "named", linked, defaults),
        projects.resolve_project(platform, None, linked, defaults),
        projects.resolve_project(platform, None, UNLINKED, defaults),
    ]
    assert [project.id for project in chosen if project] == list(ids.values())


def test_g2_a_name_is_looked_up_in_its_normal_form(platform: Platform, public_service: PublicService) -> None:
    public_service.add_project("my-demo-two")
    wanted = public_service.add_project("my-demo")
    found = projects.resolve_project(platform, "  My_Demo! ", UNLINKED, platform.settings)
    assert found is not None
    assert found.id == wanted
    (request,) = public_service.requests
    assert (request.path, request.query) == ("/v2/projects", {"search": ["my-demo"], "limit": ["500"]})


@pytest.mark.parametrize("form", [str, lambda text: text.replace("-", ""), str.upper])
def test_an_id_is_asked_for_directly(platform: Platform, public_service: PublicService, form: object) -> None:
    wanted = public_service.add_project("demo")
    assert callable(form)
    found = projects.resolve_project(platform, form(wanted), UNLINKED, platform.settings)
    assert found is not None
    assert found.name == "demo"
    assert [request.path for request in public_service.requests] == [f"/v2/projects/{wanted}"]


def test_a_name_that_no_project_has_is_not_found(platform: Platform, public_service: PublicService) -> None:
    public_service.add_project("demo-two")
    with pytest.raises(NotFoundError) as caught:
        projects.resolve_project(platform, "demo", UNLINKED, platform.settings)
    assert (str(caught.value), caught.value.exit_code) == ("there is no project 'demo'", 1)


def test_an_id_that_is_not_there_says_where_it_came_from(platform: Platform) -> None:
    linked = Link(folder=Path("folder"), project_id=TEAM)
    with pytest.raises(NotFoundError) as caught:
        projects.resolve_project(platform, None, linked, platform.settings)
    assert str(caught.value) == f"there is no project {TEAM} (from folder/.hud/config.json)"


def test_a_name_that_several_have_is_ambiguous(platform: Platform, public_service: PublicService) -> None:
    ids = [public_service.add_project("demo") for _ in range(2)]
    with pytest.raises(UsageError) as caught:
        projects.resolve_project(platform, "demo", UNLINKED, platform.settings)
    assert (str(caught.value), caught.value.exit_code) == ("several projects are named 'demo'", 2)
    assert caught.value.hint == f"name one by its id: {ids[0]}, {ids[1]}"


@pytest.mark.parametrize("capabilities", [{"create": False}, {}, None])
def test_pa_09_a_project_in_which_the_key_may_not_create_is_refused(
    platform: Platform, public_service: PublicService, capabilities: dict[str, bool] | None
) -> None:
    public_service.add_project("demo")
    public_service.projects[0].pop("capabilities")
    if capabilities is not None:
        public_service.projects[0]["capabilities"] = capabilities
    with pytest.raises(NotAuthorisedError) as caught:
        projects.resolve_project(platform, None, UNLINKED, configured(public_service, "demo"))
    assert str(caught.value) == (
        "the key may not deploy or sync into the project 'demo' (from HUD_DEFAULT_PROJECT of the command line)"
    )


@pytest.mark.parametrize("reference", ["", " ", "!!!", "---"])
def test_a_reference_that_names_nothing_is_a_usage_error(platform: Platform, reference: str) -> None:
    with pytest.raises(UsageError, match="is no project's name"):
        projects.resolve_project(platform, reference, UNLINKED, platform.settings)


def test_every_project_is_listed(platform: Platform, public_service: PublicService) -> None:
    for number in range(501):
        public_service.add_project(f"p{number}")
    assert len(list(projects.list_projects(platform))) == 501
    assert [request.query["offset"] for request in public_service.requests] == [["0"], ["500"]]


def test_a_project_is_made_with_exactly_what_was_said(platform: Platform, public_service: PublicService) -> None:
    assert projects.create(platform, "My Proj").name == "my-proj"
    projects.create(platform, "Other", description="d")
    bodies = [request.json for request in public_service.calls("POST")]
    assert bodies == [{"name": "My Proj"}, {"name": "Other", "description": "d"}]


def test_a_project_that_exists_is_a_conflict(platform: Platform, public_service: PublicService) -> None:
    public_service.add_project("demo")
    with pytest.raises(PlatformError, match="a project named demo already exists") as caught:
        projects.create(platform, "demo")
    assert caught.value.kind == "conflict"


def test_a_creation_is_never_sent_twice(platform: Platform, public_service: PublicService) -> None:
    public_service.script("POST", "/v2/projects", Scripted(status=503, headers={"Retry-After": "0"}))
    with pytest.raises(HudError):
        projects.create(platform, "demo")
    assert len(public_service.requests) == 1


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("My_Env", "my-env"),
        ("  a  b__c--d ", "a-b-c-d"),
        ("-ü.x/y-", "xy"),
        ("already-normal-1", "already-normal-1"),
        ("日本", ""),
    ],
)
def test_a_name_has_one_form(name: str, normal: str) -> None:
    assert normalise(name) == normal
    assert normalise(normal) == normal


@pytest.mark.parametrize("text", [TEAM, TEAM.upper(), TEAM.replace("-", "")])
def test_pa_03_an_id_has_dashes_or_none(text: str) -> None:
    assert dashed(text) == TEAM


@pytest.mark.parametrize(
    "text", ["", "demo", f"{{{TEAM}}}", f"urn:uuid:{TEAM}", TEAM[:-1], f"{TEAM}\n", TEAM[:8] + TEAM[9:]]
)
def test_what_only_resembles_an_id_is_none(text: str) -> None:
    assert dashed(text) is None
