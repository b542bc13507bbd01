"""The link between a folder and what it deployed: whose ids it holds, and that nothing in it is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.errors import HudError
from hud.platform import link
from hud.platform.link import LinkScope

ONE, TWO, THREE = (f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "123")
OURS = LinkScope(origin="https://api.hud.ai", user_id=ONE, team_id=TWO)
THEIRS = LinkScope(origin="https://api.hud.ai", user_id=ONE, team_id=THREE)

UNKNOWN = st.dictionaries(
    st.text(max_size=8).filter(lambda name: not name.endswith(("_id", "Id")) and name not in ("version", "scope")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
IDS = st.none() | st.uuids().map(str)


def write(folder: Path, document: object, name: str = "config.json") -> Path:
    path = folder / ".hud" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def stored(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / ".hud" / "config.json").read_text())
    return document


def test_a_folder_without_a_file_is_linked_to_nothing(tmp_path: Path) -> None:
    assert link.read(tmp_path) == link.Link(folder=tmp_path)
    assert not (tmp_path / ".hud").exists()


def test_what_is_saved_has_the_specified_form(tmp_path: Path) -> None:
    saved = link.save(tmp_path, OURS, registry_id=ONE.replace("-", "").upper())
    assert stored(tmp_path) == {
        "version": 1,
        "scope": {"origin": "https://api.hud.ai", "user_id": ONE, "team_id": TWO},
        "registry_id": ONE,
        "taskset_id": None,
        "project_id": None,
    }
    assert link.read(tmp_path) == saved


def test_older_files_have_other_spellings_and_no_scope(tmp_path: Path) -> None:
    write(tmp_path, {"registryId": ONE, "registryName": "my-env", "tasksetId": TWO, "syncEnv": True})
    found = link.read(tmp_path)
    assert (found.registry_id, found.taskset_id, found.project_id, found.scope) == (ONE, TWO, None, None)
    assert found.within(OURS) is found


def test_the_oldest_file_is_read_where_there_is_no_newer(tmp_path: Path) -> None:
    write(tmp_path, {"registryId": ONE}, "deploy.json")
    assert link.read(tmp_path).registry_id == ONE
    link.save(tmp_path, OURS, taskset_id=TWO)
    assert (stored(tmp_path)["registry_id"], stored(tmp_path)["taskset_id"]) == (ONE, TWO)


def test_an_older_release_reads_what_is_saved_into_its_file(tmp_path: Path) -> None:
    write(tmp_path, {"registryId": ONE, "syncEnv": True})
    link.save(tmp_path, OURS, registry_id=TWO)
    assert (stored(tmp_path)["registryId"], stored(tmp_path)["registry_id"]) == (TWO, TWO)
    assert stored(tmp_path)["syncEnv"] is True


def test_ids_of_another_team_are_neither_used_nor_overwritten(tmp_path: Path) -> None:
    link.save(tmp_path, THEIRS, registry_id=ONE)
    before = stored(tmp_path)
    attempts: list[Callable[[], link.Link]] = [
        lambda: link.read(tmp_path).within(OURS),
        lambda: link.save(tmp_path, OURS, taskset_id=TWO),
    ]
    for attempt in attempts:
        with pytest.raises(HudError) as caught:
            attempt()
        assert str(caught.value) == (
            f"{tmp_path / '.hud' / 'config.json'} links to https://api.hud.ai (user {ONE}, team {THREE}), "
            f"and the key is of https://api.hud.ai (user {ONE}, team {TWO})"
        )
        assert caught.value.hint is not None
        assert "rm " in caught.value.hint
    assert stored(tmp_path) == before


@pytest.mark.parametrize("part", ["origin", "user_id", "team_id"])
def test_each_part_of_a_scope_counts(tmp_path: Path, part: str) -> None:
    other = {"origin": "http://127.0.0.1:8700", "user_id": THREE, "team_id": THREE}[part]
    scope = {"origin": OURS.origin, "user_id": OURS.user_id, "team_id": OURS.team_id, part: other}
    write(tmp_path, {"version": 1, "scope": scope, "project_id": ONE})
    with pytest.raises(HudError, match="links to"):
        link.read(tmp_path).within(OURS)


def test_a_scope_without_ids_binds_nobody(tmp_path: Path) -> None:
    link.save(tmp_path, THEIRS)
    link.save(tmp_path, OURS, registry_id=ONE)
    assert link.read(tmp_path).scope == OURS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ('{"a": NaN}', "is no JSON: NaN is no number"),
        ('{"a": 1e999}', "is no JSON: 1e999 is no number"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "holds no object"),
        ('{"registry_id": "my-env"}', "registry_id is no id: 'my-env'"),
        ('{"tasksetId": 7}', "taskset_id is no id: 7"),
        ('{"scope": "me"}', "scope is none: 'me'"),
        ('{"scope": {"origin": "x", "user_id": "1"}}', "scope is none"),
        ('{"scope": {"origin": "x", "user_id": "1", "team_id": "2"}}', "scope.user_id is no id: '1'"),
    ],
)
def test_a_file_that_is_no_link_is_named_and_kept(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path, text)
    attempts: list[Callable[[], link.Link]] = [
        lambda: link.read(tmp_path),
        lambda: link.save(tmp_path, OURS, registry_id=ONE),
    ]
    for attempt in attempts:
        with pytest.raises(HudError) as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert reason in str(caught.value)
    assert path.read_text() == text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".hud").write_text("a file")
    with pytest.raises(HudError, match=r"^cannot make .*\.hud: File exists$"):
        link.save(tmp_path, OURS, registry_id=ONE)


def test_two_commands_that_end_at_once_both_find_their_id_kept(tmp_path: Path) -> None:
    for _ in range(20):
        (tmp_path / ".hud" / "config.json").unlink(missing_ok=True)
        threads = [
            threading.Thread(target=lambda: link.save(tmp_path, OURS, registry_id=ONE)),
            threading.Thread(target=lambda: link.save(tmp_path, OURS, taskset_id=TWO)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = link.read(tmp_path)
        assert (found.registry_id, found.taskset_id) == (ONE, TWO)
    assert [path.name for path in (tmp_path / ".hud").iterdir()] == ["config.json"]


@given(unknown=UNKNOWN, registry=IDS, taskset=IDS, project=IDS, given=IDS)
def test_unknown_keys_and_ids_that_are_not_given_survive(
    tmp_path_factory: pytest.TempPathFactory,
    unknown: dict[str, Any],
    registry: str | None,
    taskset: str | None,
    project: str | None,
    given: str | None,
) -> None:
    folder = tmp_path_factory.mktemp("link")
    write(folder, {**unknown, "registry_id": registry, "tasksetId": taskset, "project_id": project})
    link.save(folder, OURS, registry_id=given)
    found = link.read(folder)
    assert (found.registry_id, found.taskset_id, found.project_id) == (given or registry, taskset, project)
    assert {name: stored(folder)[name] for name in unknown} == unknown
