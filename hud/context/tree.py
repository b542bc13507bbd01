"""The files of a build, found without reading them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from hud.context.credentials import OWN_FOLDERS, is_credential
from hud.context.ignore import IGNORE_FILE, UNDECIDED, Rules, ignore_file, read_rules
from hud.context.links import leading_out
from hud.context.recipe import Recipe
from hud.errors import HudError, NotFoundError, UsageError

__all__ = [
    "DIRECTORY_MODE",
    "EXECUTABLE_MODE",
    "FILE_MODE",
    "LONGEST_NAME_BYTES",
    "LONGEST_PATH_BYTES",
    "MOST_ENTRIES",
    "Context",
    "Entry",
    "scan",
]

FILE_MODE, EXECUTABLE_MODE, DIRECTORY_MODE = 0o644, 0o755, 0o755
"""The modes that travel: a digest must not depend on who checked the files out, and under which umask."""

MOST_ENTRIES = 1_000_000
LONGEST_PATH_BYTES, LONGEST_NAME_BYTES = 4096, 255


class Entry(NamedTuple):
    """A file, folder or link of a build; `path` is relative to the root, with slashes.

    A tuple and no dataclass, for a scan makes a hundred thousand of them. `size` and `mtime_ns` are a file's, `target`
    is a link's.
    """

    path: str
    type: Literal["file", "directory", "symlink"]
    mode: int = 0
    size: int = 0
    mtime_ns: int = 0
    target: str = ""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a build gets from a folder.

    Attributes:
        entries: In the order of their paths; the folder of each one is there too.
        left_out: What the ignore file and the junk list leave out; a folder ends with / and speaks for all inside.
        secrets_left_out: What was left out although no pattern said so, because it holds credentials.
    """

    root: Path
    recipe: Recipe
    entries: list[Entry]
    left_out: list[str]
    secrets_left_out: list[str]

    @property
    def size_bytes(self) -> int:
        """How many bytes its files hold."""
        return sum(entry.size for entry in self.entries)


def scan(folder: Path, recipe: Recipe) -> Context:
    """Find the files that a build gets.

    Raises:
        UsageError: one of them can be in no context (a socket, a device, a name that is not UTF-8, a link that leads
            out of the folder), or the ignore file cannot be understood.
        HudError: a folder cannot be read.
    """
    walk = _Walk(folder, recipe)
    walk.run()
    walk.entries.sort()
    targets = {entry.path: entry.target for entry in walk.entries if entry.type == "symlink"}
    if (link := leading_out(targets)) is not None:
        raise UsageError(f"the link {link} leads out of {folder}: {targets[link]}", hint=_hint(link))
    return Context(
        root=folder,
        recipe=recipe,
        entries=walk.entries,
        left_out=sorted(walk.left_out),
        secrets_left_out=sorted(walk.secrets),
    )


class _Walk:
    """A walk through a folder: what it has found so far."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.rules: Rules = read_rules(folder, recipe)
        self.always = {recipe.dockerfile, IGNORE_FILE, ignore_file(folder, recipe)}
        self.entries: list[Entry] = []
        self.left_out: list[str] = []
        self.secrets: list[str] = []
        self.folders = {""}

    def run(self) -> None:
        pending = [("", UNDECIDED)]
        while pending:
            prefix, state = pending.pop()
            pending += self._read(prefix, state)

    def _read(self, prefix: str, state: int) -> list[tuple[str, int]]:
        """Take in what lies directly in a folder, and give the folders to go on with."""
        rules, test, out = self.rules, self.rules.test(state), self.rules.left_out(state)
        depth = prefix.count("/") + 1
        inside: list[tuple[str, int]] = []
        for item in self._items(prefix):
            name = item.name
            path = prefix + name
            is_folder = item.is_dir(follow_symlinks=False)
            if name in OWN_FOLDERS:
                continue
            own, own_out = state, out
            if test is not None and test(path, name, depth):
                own = rules.decide(path, state)
                own_out = rules.left_out(own)
            if own_out and not (not prefix and name in self.always):
                if is_folder and rules.may_bring_back_below(path, own):
                    inside.append((f"{path}/", own))
                else:
                    self.left_out.append(f"{path}/" if is_folder else path)
                continue
            if is_credential(self.folder, path, name):
                self.secrets.append(f"{path}/" if is_folder else path)
                continue
            self._check_name(path, name)
            if prefix and prefix not in self.folders:
                self._add_folders(prefix)
            if is_folder:
                self._add_folders(f"{path}/")
                inside.append((f"{path}/", own))
            else:
                self.entries.append(self._entry(item, path))
        if len(self.entries) > MOST_ENTRIES:
            raise UsageError(
                f"{self.folder} has more than {MOST_ENTRIES:,} files", hint=f"leave some out: {IGNORE_FILE}"
            )
        return inside

    def _items(self, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder / prefix) as items:
                return list(items)
        except FileNotFoundError:
            if prefix:
                raise HudError(f"{prefix} vanished while it was read", hint="run it again") from None
            raise NotFoundError(f"no such folder: {self.folder}") from None
        except OSError as error:
            what = prefix.rstrip("/") or self.folder
            raise HudError(f"cannot read {what}: {error.strerror}", hint=_hint(prefix) if prefix else None) from error

    def _entry(self, item: os.DirEntry[str], path: str) -> Entry:
        try:
            if item.is_symlink():
                return Entry(path, "symlink", target=self._target(item, path))
            found = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            raise HudError(f"{path} vanished while it was read", hint="run it again") from None
        except OSError as error:
            raise HudError(f"cannot read {path}: {error.strerror}", hint=_hint(path)) from error
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is {_kind(found.st_mode)}, which no build can get", hint=_hint(path))
        mode = EXECUTABLE_MODE if found.st_mode & 0o111 else FILE_MODE
        return Entry(path, "file", mode, found.st_size, found.st_mtime_ns)

    def _target(self, item: os.DirEntry[str], path: str) -> str:
        target = os.readlink(item)
        if not _is_utf8(target):
            raise UsageError(f"the target of {path} is not UTF-8: {_shown(target)}", hint=_hint(path))
        return target

    def _check_name(self, path: str, name: str) -> None:
        if not name.isascii() and not _is_utf8(name):
            raise UsageError(
                f"the name {_shown(path)} is not UTF-8",
                hint=f"rename it, or leave it out with a pattern in {IGNORE_FILE}",
            )
        if len(path) > LONGEST_PATH_BYTES // 4 and len(path.encode()) > LONGEST_PATH_BYTES:
            raise UsageError(f"the path {path[:60]}… is longer than {LONGEST_PATH_BYTES} bytes", hint=_hint(path[:60]))

    def _add_folders(self, prefix: str) -> None:
        """Add a folder and those it lies in, which a `!` pattern can have left behind."""
        while prefix not in self.folders:
            self.folders.add(prefix)
            self.entries.append(Entry(prefix[:-1], "directory", DIRECTORY_MODE))
            prefix = prefix[: prefix.rfind("/", 0, -1) + 1]


def _kind(mode: int) -> str:
    kinds: dict[str, Callable[[int], bool]] = {
        "a named pipe": stat.S_ISFIFO,
        "a socket": stat.S_ISSOCK,
        "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    }
    return next((word for word, is_kind in kinds.items() if is_kind(mode)), "no file")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return ascii(os.fsencode(text))[1:]


def _hint(path: str) -> str:
    return f"if no build needs it, a line in {IGNORE_FILE}: {path.rstrip('/')}"
