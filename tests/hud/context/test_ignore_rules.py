"""Which files belong to a build: Docker's ignore file, junk and credentials (CLI specification, section 4.6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.context import Context, Recipe, patterns, scan
from hud.context.ignore import Rules
from hud.errors import UsageError
from tests.hud.context.folders import Files, shown, write

Travels = Callable[[Files], set[str]]
CASES = (Path(__file__).parent / "docker_ignore_cases.jsonl").read_text().splitlines()


@pytest.mark.parametrize("line", CASES)
def test_the_context_is_that_of_dockers_own_matcher(tmp_path: Path, line: str) -> None:
    """Recorded from moby/patternmatcher 0.5.0 itself: `MatchesUsingParentResults` along a walk."""
    case = json.loads(line)
    files = {path.rstrip("/"): None if path.endswith("/") else "" for path in case["paths"]}
    write(tmp_path, {**files, ".dockerignore": case["ignore"], "Dockerfile": ""})
    assert sorted(shown(scan(tmp_path, Recipe(dockerfile="Dockerfile")))) == case["kept"]


def test_an_ignored_folder_goes_with_everything_below_it(travels: Travels) -> None:
    files = {".dockerignore": "docs\n", "docs/a.md": "", "docs/deep/b.md": "", "src/docs/c.md": "", "env.py": ""}
    assert travels(files) == {"src/", "src/docs/", "src/docs/c.md", "env.py"}


def test_a_nested_folder_is_ignored_by_its_path_or_at_any_depth(travels: Travels) -> None:
    files = {".dockerignore": "a/logs\n**/tmp\n", "a/logs/x": "", "b/logs/x": "", "tmp/x": "", "a/b/tmp/x": ""}
    assert travels(files) == {"a/", "a/b/", "b/", "b/logs/", "b/logs/x"}


@pytest.mark.parametrize(
    ("ignore", "kept"),
    [
        ("data\n!data/keep", {"data/", "data/keep"}),
        ("!data/keep\ndata", set()),
        ("data/*\n!data/keep\ndata/k*", {"data/"}),
        ("**\n!**/keep", {"data/", "data/keep"}),
        ("*\n!data", {"data/", "data/keep", "data/other"}),
        ("data\n!data/absent", set()),
    ],
    ids=["back-below-ignored", "order", "last-wins", "wildcard-back", "allow-list", "nothing-back"],
)
def test_the_last_pattern_decides(travels: Travels, ignore: str, kept: set[str]) -> None:
    assert travels({".dockerignore": ignore, "data/keep": "", "data/other": ""}) == kept


def test_a_pattern_without_a_slash_matches_at_the_root_alone(travels: Travels) -> None:
    """Weakness 4 of the public client: `*.log` also dropped `src/app.log`."""
    files = {".dockerignore": "*.log\ndata\n", "x.log": "", "src/app.log": "", "src/data/x": ""}
    assert travels(files) == {"src/", "src/app.log", "src/data/", "src/data/x"}


def test_classes_and_escapes_are_wildcards_of_their_own(travels: Travels) -> None:
    files = {
        ".dockerignore": "[ab].txt\n[^x].md\n\\*.py\n",
        "a.txt": "",
        "c.txt": "",
        "x.md": "",
        "y.md": "",
        "*.py": "",
    }
    assert travels({**files, "z.py": ""}) == {"c.txt", "x.md", "z.py"}


def test_lines_are_cleaned_as_docker_cleans_them(travels: Travels) -> None:
    ignore = "\ufeff# a comment\n  /a  \r\n./b/\nx/../c\n\n ! c \n #d\n"
    files = {".dockerignore": ignore, "a": "", "b/x": "", "c": "", "#d": "", "e": ""}
    assert travels(files) == {"c", "e"}


def test_an_empty_folder_travels(travels: Travels) -> None:
    assert travels({"empty": None, "a/b/also": None}) == {"empty/", "a/", "a/b/", "a/b/also/"}


def test_a_recipes_own_ignore_file_comes_before_the_general_one(project: Callable[[Files], Path]) -> None:
    folder = project({"Dockerfile.dockerignore": "", ".dockerignore": "a\n", "a": "", "b": ""})
    assert shown(scan(folder, Recipe(dockerfile="Dockerfile"))) == {"a", "b"}


def test_the_recipe_and_the_ignore_files_always_travel(found: Callable[[Files], Context]) -> None:
    context = found({".dockerignore": "**\n", "env.py": ""})
    assert [entry.path for entry in context.entries] == [".dockerignore", "Dockerfile"]


def test_junk_stays_at_home_unless_it_is_called_back(travels: Travels) -> None:
    files = {
        "a/__pycache__/x.pyc": "",
        "venv/bin/python": "",
        "b/.DS_Store": "",
        "web/node_modules/x/y.js": "",
        "c": "",
    }
    assert travels(files) == {"a/", "b/", "web/", "c"}
    assert "web/node_modules/x/y.js" in travels({**files, ".dockerignore": "!web/node_modules\n"})


@pytest.mark.parametrize(
    "secret",
    [
        ".env",
        ".env.local",
        "prod.env",
        ".envrc",
        "a/b/.env",
        ".ssh/id_rsa",
        "keys/id_ed25519",
        "keys/id_rsa_work",
        ".netrc",
        ".pypirc",
        ".aws/credentials",
        "home/.docker/config.json",
        ".ENV",
    ],
)
def test_a_credential_never_travels_whatever_the_ignore_file_says(
    found: Callable[[Files], Context], secret: str
) -> None:
    context = found({secret: "KEY=1", ".dockerignore": f"!{secret}\n!**\n", "env.py": ""})
    assert not any(entry.path == secret for entry in context.entries)
    (reported,) = context.secrets_left_out
    assert secret.startswith(reported.rstrip("/"))


def test_what_only_looks_like_a_credential_travels(travels: Travels) -> None:
    files = dict.fromkeys(
        ["env.py", "environment", "id_rsa.pub", "config.json", "docker/config.json", "identity.py"], ""
    )
    assert set(files) <= travels(files)


@pytest.mark.parametrize(
    ("content", "is_secret"),
    [
        ("//registry.example/:_authToken=abc123\n", True),
        ("_auth = dXNlcg==\n", True),
        ("//registry.example/:_authToken=${NPM_TOKEN}\n", False),
        ("registry=https://registry.example/\n", False),
    ],
)
def test_an_npmrc_stays_at_home_when_it_holds_a_token(
    found: Callable[[Files], Context], content: str, is_secret: bool
) -> None:
    assert found({"web/.npmrc": content}).secrets_left_out == (["web/.npmrc"] if is_secret else [])


def test_a_credential_that_a_pattern_leaves_out_is_not_worth_a_word(found: Callable[[Files], Context]) -> None:
    context = found({".env": "K=1", ".dockerignore": ".env\n"})
    assert (context.secrets_left_out, context.left_out) == ([], [".env"])


def test_history_and_link_files_never_travel_and_are_not_told(found: Callable[[Files], Context]) -> None:
    context = found({".git/config": "", "sub/.git": "gitdir: …", ".hud/config.json": "{}", ".dockerignore": "!.git\n"})
    assert shown(context) == {"sub/"}
    assert (context.left_out, context.secrets_left_out) == ([], [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "a[b",
            ".dockerignore:2: 'a[b' has a [ whose ] is missing or that holds a lone -, with which docker build fails",
        ),
        ("!", ".dockerignore:2 is a ! with nothing after it"),
        ("a\\", ".dockerignore:2: 'a\\\\' ends with a \\, with which docker build fails"),
        (
            "\\d.txt",
            ".dockerignore:2: '\\\\d.txt' escapes 'd', which Docker does not take for the character: leave out the \\",
        ),
        ("[*]", ".dockerignore:2: '[*]' has * inside [ ], where Docker does not take it for itself: write \\*"),
        ("[z-a]", ".dockerignore:2: '[z-a]' has the range z-a, which is the wrong way round"),
    ],
)
def test_a_pattern_that_docker_cannot_read_is_named(travels: Travels, line: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        travels({".dockerignore": f"# two lines\n{line}\n"})
    assert refused.value.message == message


@given(st.binary(max_size=200))
def test_any_bytes_are_an_ignore_file_or_a_usage_error(content: bytes) -> None:
    try:
        rules = Rules(patterns=tuple(patterns.parse(content, name=".dockerignore")))
    except UsageError:
        return
    rules.decide_from_root("a/b/c.txt")
