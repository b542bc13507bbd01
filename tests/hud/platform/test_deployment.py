"""A deployment's steps as functions: what they take from a folder, where it goes, and how it ended, in words."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hud import settings
from hud.errors import HudError, NotFoundError, UsageError
from hud.platform import deployment, link
from hud.platform.client import Platform
from hud.platform.deployment import Deployment, Options, Plan, Sent
from hud.platform.records import BuildStarted, BuildStatus
from tests.hud.context.folders import write
from tests.stand_in import PublicService

STARTED = BuildStarted(id="b1", registry_id="r1")


@pytest.fixture
def client(public_service: PublicService) -> Iterator[Platform]:
    with Platform(settings.load({**public_service.variables, "HUD_RETRY_LIMIT_S": "0"})) as platform:
        yield platform


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    source = 'from hud import Environment\nenv = Environment("My_Env")\n'
    return deployment.prepare(write(tmp_path / "e", {"Dockerfile": "FROM x\nCOPY . .\n", "env.py": source}))


def git(folder: Path, *words: str) -> str:
    author = {f"GIT_{role}_{part}": "x@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *words], cwd=folder, env={**os.environ, **author}, capture_output=True, check=True)
    return done.stdout.decode().strip()


def ended(plan: Plan, status: str, reason: str | None = None) -> Deployment:
    sent = Sent(digest=None, build_id="b1", sent_bytes=0)
    ending = BuildStatus(status=status, error_message=reason)
    return Deployment(name=plan.name, begun=STARTED, status=ending, plan=plan, sent=sent)


def test_a_folder_and_its_env_py_are_one_plan(plan: Plan) -> None:
    by_file = deployment.prepare(plan.folder / "env.py")
    assert (by_file.folder, by_file.name, by_file.files) == (plan.folder, "My_Env", 2)
    assert plan == by_file


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"no such folder: {tmp_path}/none"):
        deployment.prepare(tmp_path / "none")


def test_the_first_deploy_links_and_the_next_is_no_first_one(client: Platform, plan: Plan) -> None:
    target = deployment.resolve(client, plan)
    assert target.is_first
    deployment.remember(plan, target, replace(STARTED, registry_id=str(uuid.uuid4())))
    assert not deployment.resolve(client, plan).is_first


def test_an_environment_or_a_project_for_one_time_links_nothing(
    client: Platform, plan: Plan, public_service: PublicService
) -> None:
    environment, project = public_service.add_environment("other"), public_service.add_project("demo")
    begun = replace(STARTED, registry_id=environment)
    by_id = deployment.resolve(client, plan, registry_id=environment.replace("-", ""))
    deployment.remember(plan, by_id, begun)
    by_project = deployment.resolve(client, plan, project="demo")
    deployment.remember(plan, by_project, begun)
    assert (by_id.registry_id, by_id.is_first, by_project.project_id) == (environment, False, project)
    assert link.read(plan.folder).registry_id is None


def test_weakness_8_another_name_than_the_linked_one_is_told(
    client: Platform, plan: Plan, public_service: PublicService
) -> None:
    linked = {name: public_service.add_environment(name) for name in ("my-env", "earlier")}
    for name, expected in (("my-env", None), ("earlier", "earlier")):
        target = deployment.resolve(client, plan)
        deployment.remember(plan, target, replace(STARTED, registry_id=linked[name]))
        assert deployment.resolve(client, plan).linked_name == expected
    del public_service.environments[linked["earlier"]]
    assert deployment.resolve(client, plan).linked_name is None


def test_a_link_to_another_platform_is_not_used(client: Platform, plan: Plan) -> None:
    target = deployment.resolve(client, plan)
    elsewhere = replace(target.scope, origin="https://api.example.com")
    link.save(plan.folder, elsewhere, registry_id=str(uuid.uuid4()))
    with pytest.raises(HudError, match=r"links to https://api\.example\.com, and the key is of http://127"):
        deployment.resolve(client, plan)


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        ("FAILED", "step 3\nits lines", "My_Env is not deployed: step 3\nits lines"),
        ("FAILED", None, "My_Env is not deployed"),
        ("FAILED", "\x1b[2Jit\rbroke\x07", "My_Env is not deployed: \ufffd[2Jit\ufffdbroke\ufffd"),
        ("STOPPED", None, "My_Env was cancelled"),
        ("TIMED_OUT", "30 min", "My_Env took too long: 30 min"),
        ("EXPLODED", None, "My_Env ended as EXPLODED"),
    ],
)
def test_pa_38_every_end_but_success_is_a_failure_with_the_way_to_its_log(
    plan: Plan, status: str, reason: str | None, message: str
) -> None:
    failure = deployment.failure(ended(plan, status, reason))
    assert not ended(plan, status).succeeded
    assert (str(failure), failure.hint, failure.exit_code) == (message, "hud build logs b1", 1)


def test_a_commit_is_named_and_what_differs_from_it_is_dirty(plan: Plan, tmp_path: Path) -> None:
    assert deployment.source_revision(plan.folder) is None
    git(tmp_path, "init", "-q")
    assert deployment.source_revision(plan.folder) is None  # nothing is committed yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "beside").touch()  # not of this folder
    assert deployment.source_revision(plan.folder) == head
    (plan.folder / "env.py").write_text("")
    assert deployment.source_revision(plan.folder) == f"{head}-dirty"


def test_pa_37_the_public_service_is_told_no_commit(
    client: Platform, plan: Plan, public_service: PublicService
) -> None:
    git(plan.folder, "init", "-q")
    git(plan.folder, "add", ".")
    git(plan.folder, "commit", "-qm", "x")
    target = deployment.resolve(client, plan)
    sent = deployment.send(client, plan)
    deployment.begin(client, plan, target, sent, Options())
    (body,) = public_service.triggers.values()
    assert body == {"source": "direct", "build_id": sent.build_id, "name": "My_Env", "no_cache": False}


def test_a_wanted_name_that_no_code_declares_is_refused(plan: Plan) -> None:
    with pytest.raises((NotFoundError, UsageError), match="other"):
        deployment.prepare(plan.folder, wanted="other")
