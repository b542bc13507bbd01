"""One folder of `env.py` and `tasks.py`, written for the public SDK, in the hands of both implementations.

Golden facts, seen on release 0.6.21 where the specification leaves room:

- Rows come in the order of their attributes' names, and of items in lists and tasksets; so a task's index means the
  same row everywhere.
- A row's arguments are listed in the order of the template's parameters, however the template was called.
- Arguments that only `**kwargs` takes are minted by the public SDK as one argument of that name, which its own server
  then hands to the template one level too deep. Ours keeps each under its own name; such slugs differ.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.interop.parties import Party, Server, copy_source

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The common source, and rows of it in a file."""
    made = copy_source(tmp_path_factory.mktemp("source") / "interop")
    rows: list[dict[str, Any]] = [
        {"env": "interop", "id": "add", "args": {"a": 1}},
        {"env": "interop", "id": "add", "args": {"b": 3, "a": 2}, "slug": "two", "columns": {"level": 1}},
        {"env": "interop", "id": "judge", "verifier": {"env": "interop", "id": "verify"}, "agent_config": None},
    ]
    (made / "rows.jsonl").write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    return made


LISTED = """\
easy	add {"a": 4}
slow-3e667981	slow {"tag": "x"}
add-e4ad4daa	add {"a": 1}
add-f4ac1f8b	add {"a": 5, "b": 5}
add-79e590c7	add {"a": 5, "b": 6}
ask-662e2834	ask {"form": "turns"}
ask-7a8481bb	ask {"form": "Gr\\u00fc\\u00dfe, \\u4e16\\u754c"}
typed-0708c48c	typed {"count": 3, "ratio": 1e-07, "tags": ["a", "b"], "table": {"z": 1, "a": 2}}
judge	judge
long	long {"size": 1048576}
"""


@pytest.mark.parametrize("party", ["ours", "theirs"])
def test_the_listing_is_this(folder: Path, party: str, request: pytest.FixtureRequest) -> None:
    listed = request.getfixturevalue(party).hud("task", "list", cwd=folder)
    assert (listed.code, listed.out) == (0, LISTED)


@pytest.mark.parametrize(
    "words",
    [
        ("--source", "tasks.py", "--json"),
        ("-s", "rows.jsonl", "-q"),
    ],
    ids=" ".join,
)
def test_every_source_is_listed_the_same(ours: Party, theirs: Party, folder: Path, words: tuple[str, ...]) -> None:
    listings = [party.hud("task", "list", *words, cwd=folder) for party in (ours, theirs)]
    assert listings[0].out == listings[1].out
    assert [listing.code for listing in listings] == [0, 0]


@pytest.fixture(scope="module")
def named(ours: Party, theirs: Party, folder: Path) -> dict[str, Any]:
    return {party.name: party.run("slugs.py", str(folder)) for party in (ours, theirs)}


def test_slugs_are_equal_bit_for_bit(named: dict[str, Any]) -> None:
    """The second row is the specification's test vector."""
    assert named["ours"]["rows"] == named["theirs"]["rows"]
    assert named["ours"]["rows"][:3] == ["count", "count-4376680e", "count-4376680e"]


def test_calling_a_template_makes_the_same_row(named: dict[str, Any]) -> None:
    assert named["ours"]["calls"] == named["theirs"]["calls"]


def test_a_bad_call_is_refused_in_the_same_words(named: dict[str, Any]) -> None:
    assert named["ours"]["refused"] == named["theirs"]["refused"]
    assert {kind for kind, _ in named["ours"]["refused"]} == {"TypeError"}


def test_a_task_of_a_source_is_served_and_graded_by_each(ours: Party, theirs: Party, folder: Path) -> None:
    for party in (ours, theirs):
        graded = party.hud("task", "grade", "0", "--source", "tasks.py", "--answer", "6", cwd=folder)
        assert (graded.code, graded.out) == (0, "1.0\n"), graded.err


@pytest.mark.parametrize(("task", "code"), [("nope", 1), ("add", 2)], ids=["unknown", "ambiguous"])
def test_a_task_that_is_not_one_row_has_the_same_exit_code(
    ours: Party, theirs: Party, folder: Path, task: str, code: int
) -> None:
    for party in (ours, theirs):
        done = party.hud("task", "start", task, "--source", ".", cwd=folder)
        assert (done.code, done.out) == (code, "")
        assert repr(task) in done.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)], ids=["SIGTERM", "SIGINT"])
def test_serving_ends_with_the_same_hooks_and_exit_code(
    ours: Party, theirs: Party, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    servers = [Server(party, copy_source(tmp_path / party.name)) for party in (ours, theirs)]
    try:
        for server in servers:
            server.ready()
            ours.hud("task", "start", "slow", "--args", '{"tag": "parked"}', "--url", server.url)
    finally:
        codes = [server.stop(number) for server in servers]
    assert codes == [code, code]
    for server in servers:
        assert server.journal() == ["initialized", "started parked", "closed parked", "shut down"]
