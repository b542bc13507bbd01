"""Finding the files of a build: what is refused, and how it is said (PA-17, CLI specification, section 4.6)."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud.context import Context, Entry, Recipe, scan
from hud.errors import HudError, NotFoundError, UsageError
from tests.hud.context.folders import Files, write

RECIPE = Recipe(dockerfile="Dockerfile")
Project = Callable[[Files], Path]


def test_entries_come_by_path_with_modes_that_no_umask_changes(project: Project) -> None:
    folder = project({"b/run.sh": "#!/bin/sh\n", "a": "12", "b/link@": "../a"})
    (folder / "b/run.sh").chmod(0o700)
    (folder / "a").chmod(0o660)
    found = scan(folder, RECIPE).entries
    assert [(entry.path, entry.type, entry.mode, entry.size, entry.target) for entry in found] == [
        ("Dockerfile", "file", 0o644, 25, ""),
        ("a", "file", 0o644, 2, ""),
        ("b", "directory", 0o755, 0, ""),
        ("b/link", "symlink", 0, 0, "../a"),
        ("b/run.sh", "file", 0o755, 10, ""),
    ]


def test_names_in_any_script_travel(found: Callable[[Files], Context]) -> None:
    names = {"ü/日本語.py", "عربى", "a\nb", "emoji 🦀", "back\\slash", "-rf", "“quotes”"}
    assert names <= {entry.path for entry in found(dict.fromkeys(names, "")).entries}


def test_what_is_left_out_is_listed_with_folders_as_one(found: Callable[[Files], Context]) -> None:
    context = found(
        {".dockerignore": "docs\n*.log\ndata\n!data/a\n", "docs/a": "", "x.log": "", "data/a": "", "data/b": ""}
    )
    assert context.left_out == ["data/b", "docs/", "x.log"]


def test_links_that_stay_inside_are_kept_even_when_they_dangle(found: Callable[[Files], Context]) -> None:
    context = found({"a/b/up@": "../../c", "c": "", "a/gone@": "nowhere", "a/itself@": "itself", "a/here@": "."})
    assert [entry.path for entry in context.entries if entry.type == "symlink"] == [
        "a/b/up",
        "a/gone",
        "a/here",
        "a/itself",
    ]


@pytest.mark.parametrize(
    ("links", "link"),
    [
        ({"a/out@": "/etc/passwd"}, "a/out"),
        ({"a/out@": "../../etc"}, "a/out"),
        ({"a/out@": "../../project/a"}, "a/out"),
        ({"a/up@": "..", "through@": "a/up/../etc"}, "through"),
    ],
    ids=["absolute", "climbs", "out-and-in-again", "through-another-link"],
)
def test_a_link_that_leaves_the_folder_is_refused(project: Project, links: dict[str, str], link: str) -> None:
    folder = project({"a/file": "", **links})
    with pytest.raises(UsageError) as refused:
        scan(folder, RECIPE)
    assert refused.value.message == f"the link {link} leads out of {folder}: {links[f'{link}@']}"
    assert refused.value.hint == f"if no build needs it, a line in .dockerignore: {link}"


def test_an_ignored_link_that_leaves_the_folder_is_nobodys_matter(found: Callable[[Files], Context]) -> None:
    assert found({"out@": "/etc", ".dockerignore": "out\n"}).left_out == ["out"]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


def _device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    os.mknod(path, 0o020600, os.makedev(1, 3))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(_fifo, "a named pipe"), (_socket, "a socket"), (_device, "a device")],
    ids=["fifo", "socket", "device"],
)
def test_what_is_no_file_is_refused_by_name(project: Project, make: Callable[[Path], None], kind: str) -> None:
    folder = project({"run/x": ""})
    make(folder / "run/odd")
    with pytest.raises(UsageError) as refused:
        scan(folder, RECIPE)
    assert refused.value.message == f"run/odd is {kind}, which no build can get"
    write(folder, {".dockerignore": "run\n"})
    assert scan(folder, RECIPE).left_out == ["run/"]


def test_a_name_that_is_not_utf8_is_refused_and_can_be_ignored(project: Project) -> None:
    folder = project({"d/x": ""})
    with open(os.path.join(os.fsencode(folder), b"d/caf\xe9.txt"), "wb"):
        pass
    with pytest.raises(UsageError) as refused:
        scan(folder, RECIPE)
    assert refused.value.message == r"the name 'd/caf\xe9.txt' is not UTF-8"
    write(folder, {".dockerignore": "d/caf?.txt\n"})
    assert "d/x" in {entry.path for entry in scan(folder, RECIPE).entries}


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"^no such folder: {tmp_path}/none$"):
        scan(tmp_path / "none", RECIPE)


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder, and this process as a user who owns nothing in it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory(prefix="hud-scan-") as folder:
        os.chmod(folder, 0o755)
        yield write(Path(folder), {"Dockerfile": "FROM scratch\n", "secret/x": "", "y": "1"})
        os.seteuid(0)


def test_an_unreadable_folder_is_named_unless_it_is_ignored(nobody: Path) -> None:
    (nobody / "secret").chmod(0o700)
    os.seteuid(65534)
    with pytest.raises(HudError, match=r"^cannot read secret: Permission denied$"):
        scan(nobody, RECIPE)
    os.seteuid(0)
    write(nobody, {".dockerignore": "secret\n"})
    os.seteuid(65534)
    assert Entry("y", "file", 0o644, 1, (nobody / "y").stat().st_mtime_ns) in scan(nobody, RECIPE).entries
