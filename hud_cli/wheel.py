"""The wheel for images, made from what is installed: the SDK and the served commands, installed without any index.

A workstation's commands, the platform and the templates stay behind: no image can use them without packages that it
does not have, and every image would carry them.

Pure standard library, no network, and the same bytes for the same files: sorted names, one timestamp, fixed modes.
Source: the wheel format, PEP 427, and the recording of installed projects, PEP 376.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hud.errors import HudError
from hud.version import __version__

__all__ = ["Wheel", "build", "checkout_root"]

_PROJECT = "hud-cli"
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can say
_WHEEL = "Wheel-Version: 1.0\nGenerator: hud\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_KEPT_METADATA = ("METADATA", "entry_points.txt")
_LEFT_OUT_FOLDERS = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hud", ".venv"}
_LEFT_OUT_SUFFIXES = {".pyc", ".pyo", ".whl"}
_PACKAGES = ("hud", "hud_cli")
_SERVED_COMMANDS = frozenset(
    (
        *("__init__", "__main__", "main", "commands", "parser", "help", "output", "signals"),
        *("serve", "task", "client", "placement", "port", "spawn", "container"),
    )
)
_OF_A_WORKSTATION = ("hud/context/", "hud/platform/", "hud/sync/", "hud/http.py", "hud/refusal.py", "hud/retry.py")


class Wheel(NamedTuple):
    """A wheel: its file name and its bytes."""

    name: str
    content: bytes


class _Member(NamedTuple):
    name: str
    content: bytes
    executable: bool = False


def build() -> Wheel:
    """Make the wheel of the code that is running.

    Raises:
        HudError: the installation lacks files that it recorded.
    """
    found = _checkout_members(root) if (root := checkout_root()) is not None else _installed_members()
    members = [member for member in found if _is_for_images(member.name)]
    stem = f"hud_cli-{__version__}"
    return Wheel(f"{stem}-py3-none-any.whl", _packed(members, info=f"{stem}.dist-info"))


def _is_for_images(name: str) -> bool:
    package, _, rest = name.partition("/")
    if package == "hud_cli":
        return rest.removesuffix(".py") in _SERVED_COMMANDS
    return package in ("hud", "{info}") and not name.startswith(_OF_A_WORKSTATION)


def checkout_root() -> Path | None:
    """Give the folder of the checkout the code runs from, or None when it was installed from a wheel."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "templates").is_dir() else None


def _packed(members: list[_Member], *, info: str) -> bytes:
    record = f"{info}/RECORD"
    members = [member._replace(name=member.name.replace("{info}", info)) for member in members]
    members = sorted(members, key=lambda member: (member.name.startswith(info), member.name))
    rows = [f"{member.name},sha256={_digest(member.content)},{len(member.content)}" for member in members]
    members.append(_Member(record, "\n".join([*rows, f"{record},,", ""]).encode()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member in members:
            entry = zipfile.ZipInfo(member.name, _TIMESTAMP)
            entry.create_system = 3  # Unix, wherever it is made, for the mode below to count
            entry.external_attr = (0o100755 if member.executable else 0o100644) << 16
            archive.writestr(entry, member.content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()


def _checkout_members(root: Path) -> list[_Member]:
    members = [
        _Member(path.relative_to(root).as_posix(), path.read_bytes(), os.access(path, os.X_OK))
        for package in _PACKAGES
        for path in _files(root / package)
    ]
    return [*members, *_project_metadata(root)]


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT_FOLDERS]
        yield from (Path(parent, name) for name in names if Path(name).suffix not in _LEFT_OUT_SUFFIXES)


def _project_metadata(root: Path) -> list[_Member]:
    import tomli

    project = tomli.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {__version__}"]
    lines += [f"Summary: {project['description']}", f"Requires-Python: {project['requires-python']}"]
    lines += [f"Classifier: {classifier}" for classifier in project.get("classifiers", ())]
    lines += [f"Requires-Dist: {requirement}" for requirement in project["dependencies"]]
    scripts = [f"{name} = {target}" for name, target in project["scripts"].items()]
    return [
        _Member("{info}/METADATA", "\n".join([*lines, ""]).encode()),
        _Member("{info}/WHEEL", _WHEEL.encode()),
        _Member("{info}/entry_points.txt", "\n".join(["[console_scripts]", *scripts, ""]).encode()),
    ]


def _installed_members() -> list[_Member]:
    """Read back what an installer recorded, without what it added itself: scripts, byte code, its own notes."""
    distribution = metadata.distribution(_PROJECT)
    members = [_Member("{info}/WHEEL", _WHEEL.encode())]
    missing = []
    # Not `distribution.files`: from Python 3.12 on it passes over files that are gone.
    for name, *_ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        file = PurePosixPath(name)
        in_info = file.parts[0].endswith(".dist-info")
        if (
            file.parts[0] in ("..", "hud_platform")
            or file.suffix == ".pyc"
            or (in_info and file.name not in _KEPT_METADATA)
        ):
            continue
        path = Path(str(distribution.locate_file(name)))
        if not path.is_file():
            missing.append(name)
            continue
        inside = "{info}/" + file.name if in_info else name
        members.append(_Member(inside, path.read_bytes(), os.access(path, os.X_OK)))
    if missing or len(members) < 3:
        raise HudError(
            f"the installation of {_PROJECT} is incomplete: {missing[0] if missing else 'it has no record'} is missing",
            hint=f"pip install --force-reinstall {_PROJECT}",
        )
    return members
