"""Builds and environments over the API: exactly the specified fields go out, and every spelling of a name finds one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hud import settings
from hud.errors import HudError, NotAuthorisedError, NotFoundError, PlatformError, UsageError
from hud.platform import builds, environments
from hud.platform.client import Platform
from hud.platform.records import BuildRequest, BuildStatus
from tests.platform_process import PlatformProcess
from tests.stand_in import DROP, PublicService, Scripted

CONFIG: dict[str, Any] = {"resources": {"cpu": 2.0}, "limits": {"run_timeout_s": 600}}
OFFER = "a platform of your own does: hud platform up"


@pytest.fixture
def client(public_service: PublicService) -> Iterator[Platform]:
    explicit = {**public_service.variables, "HUD_RETRY_LIMIT_S": "10"}
    with Platform(settings.load(explicit)) as platform:
        yield platform


@pytest.fixture
def own(platform: PlatformProcess) -> Iterator[Platform]:
    """A client of a platform of this project's."""
    with Platform(settings.load({"HUD_API_URL": platform.url, "HUD_API_KEY": platform.key})) as client:
        yield client


def uploaded(client: Platform) -> str:
    """Give the id of a build whose archive is there."""
    ticket = builds.open_upload(client)
    client.put_file(ticket.upload_url, [b"archive"], size_bytes=7, content_type="application/gzip")
    return ticket.build_id


def test_pa_37_a_trigger_has_the_fields_of_the_specification_and_nothing_that_is_empty(
    client: Platform, public_service: PublicService
) -> None:
    build = uploaded(client)
    builds.trigger(client, BuildRequest(build_id=build, name="My_Env"))
    assert public_service.triggers[build] == {
        "source": "direct",
        "build_id": build,
        "name": "My_Env",
        "no_cache": False,
    }


def test_pa_37_a_trigger_carries_what_was_asked_for(client: Platform, public_service: PublicService) -> None:
    build, environment, project = uploaded(client), str(uuid.uuid4()), str(uuid.uuid4())
    asked: dict[str, Any] = {
        "build_id": build,
        "name": "e",
        "no_cache": True,
        "registry_id": environment,
        "project_id": project,
        "runtime_provider": "modal",
        "runtime_config": CONFIG,
        "environment_variables": {"A": ""},
        "build_args": {"B": "2"},
        "build_secrets": {"npm": "t0ken"},
    }
    started = builds.trigger(client, BuildRequest(**asked))
    assert public_service.triggers[build] == {"source": "direct", **asked}
    assert (started.id, started.registry_id) == (build, environment)


def test_pa_07_a_trigger_whose_reply_is_lost_is_sent_again_with_its_build_id(
    client: Platform, public_service: PublicService
) -> None:
    build = uploaded(client)
    public_service.script("POST", "/v2/builds/trigger", Scripted(drop="after", acted=True))
    builds.trigger(client, BuildRequest(build_id=build, name="e"))
    first, second = public_service.calls("POST", "/v2/builds/trigger")
    assert first.json == second.json
    assert len(public_service.environments) == 1


def test_pa_18_a_trigger_without_an_archive_says_so(client: Platform) -> None:
    with pytest.raises(PlatformError, match="the upload of this build is not complete"):
        builds.trigger(client, BuildRequest(build_id=str(uuid.uuid4()), name="e"))


@pytest.mark.parametrize("word", ["QUEUED", "PENDING", "IN_PROGRESS", "MIGRATING", "CANCELLING"])
def test_pa_38_a_build_that_waits_runs(word: str) -> None:
    assert builds.is_running(BuildStatus(status=word))


@pytest.mark.parametrize("word", ["SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT", "EXPLODED"])
def test_pa_38_any_other_word_is_an_end(word: str) -> None:
    assert not builds.is_running(BuildStatus(status=word))


def test_a_build_id_that_is_a_path_reaches_nothing_else(client: Platform, public_service: PublicService) -> None:
    public_service.script("GET", ".*", Scripted(status=404, body={"detail": "No such build"}))
    with pytest.raises(NotFoundError):
        builds.status(client, "x/../../auth/me?a=b")
    assert [request.query for request in public_service.requests] == [{}]
    assert public_service.requests[0].path == "/v2/builds/x%2F..%2F..%2Fauth%2Fme%3Fa%3Db/status"


def test_pa_37_what_a_platform_does_not_offer_is_said(client: Platform, public_service: PublicService) -> None:
    environment = environments.find(client, public_service.add_environment("e"))
    calls: dict[str, Callable[[], object]] = {
        "a list of builds": lambda: list(builds.list_builds(client)),
        "the cancelling of builds": lambda: builds.cancel(client, "b"),
        "the versions of environments": lambda: list(environments.versions(client, environment)),
        "going back to an earlier version": lambda: environments.rollback(client, environment, 1),
    }
    for what, call in calls.items():
        with pytest.raises(HudError) as caught:
            call()
        assert (str(caught.value), caught.value.hint) == (f"{public_service.url} does not offer {what}", OFFER)


@pytest.mark.parametrize("reference", ["my-env", "My_Env", " MY ENV "])
def test_an_environment_is_found_by_every_spelling_of_its_name(
    client: Platform, public_service: PublicService, reference: str
) -> None:
    public_service.add_environment("my-env-2")  # the platform's search is for a part of a name
    identifier = public_service.add_environment("my-env")
    assert environments.find(client, reference).id == identifier
    assert public_service.requests[-1].query == {"search": ["my-env"], "limit": ["500"]}


def test_pa_03_an_environment_is_found_by_its_id_in_both_forms(client: Platform, public_service: PublicService) -> None:
    identifier = public_service.add_environment("e")
    for reference in (identifier, identifier.replace("-", ""), identifier.upper()):
        assert environments.find(client, reference).name == "e"


def test_an_environment_that_is_not_there_is_said_with_what_is_near(
    client: Platform, public_service: PublicService
) -> None:
    public_service.add_environment("my-env-2")
    with pytest.raises(NotFoundError, match="there is no environment 'my-env'") as caught:
        environments.find(client, "my-env")
    assert caught.value.hint == "did you mean my-env-2?"
    with pytest.raises(UsageError, match="'///' is no name of an environment"):
        environments.find(client, "///")
    unknown = str(uuid.uuid4())
    with pytest.raises(NotFoundError, match=f"there is no environment {unknown}"):
        environments.find(client, unknown)


def test_an_ambiguous_name_is_refused_with_the_ids(client: Platform, public_service: PublicService) -> None:
    ids = [public_service.add_environment("e"), public_service.add_environment("e")]
    with pytest.raises(UsageError, match="several environments are named 'e'") as caught:
        environments.find(client, "e")
    assert caught.value.hint == f"name one by its id: {ids[0]}, {ids[1]}"


def test_a_long_registry_is_read_page_after_page(client: Platform, public_service: PublicService) -> None:
    for number in range(1203):
        public_service.add_environment(f"e{number}")
    public_service.script("GET", "/v2/registry", DROP)  # and a broken connection in between is nobody's matter
    assert len({row.id for row in environments.list_environments(client)}) == 1203


def test_what_is_not_there_is_not_cancelled(own: Platform) -> None:
    assert not builds.cancel(own, str(uuid.uuid4()))
    with pytest.raises(NotFoundError):
        builds.status(own, str(uuid.uuid4()))
    unknown = str(uuid.uuid4())
    assert unknown not in {record.id for record in builds.list_builds(own)}


def test_a_read_only_key_begins_nothing(platform: PlatformProcess) -> None:
    access = {"HUD_API_URL": platform.url, "HUD_API_KEY": platform.mint("read")}
    with Platform(settings.load(access)) as client, pytest.raises(NotAuthorisedError):
        builds.start(client, BuildRequest(build_id=str(uuid.uuid4()), name="e"), context_digest="0" * 64)
