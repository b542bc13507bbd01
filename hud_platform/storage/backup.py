"""A platform's data in one file, taken while it runs, and put back.

The file is a tar archive: a description, the databases as SQLite's own online backup gives them, the keys, the blobs,
the logs of builds and the uploads. Work trees are made again from blobs; images stay with the engine or the registry.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from hud import files
from hud.errors import HudError, NotFoundError, UsageError
from hud.version import __version__
from hud_platform.storage.data_folder import DataFolder, lock, open_folder
from hud_platform.storage.places import recall
from hud_platform.web.times import now, stamp

__all__ = ["Backup", "back_up", "restore"]

_DESCRIPTION = "hud-platform.json"
_FORMAT = 1
_LARGEST_DESCRIPTION_BYTES = 64 * 1024
_PARTS = ("keys", "blobs", "builds", "uploads")
_DATABASES = ("platform.sqlite", "dbos.sqlite")


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup says of itself.

    Attributes:
        files: How many files it holds, the databases included.
        version: Of the project that made it.
    """

    format: int
    version: str
    created_at: str
    files: int


def back_up(folder: DataFolder, target: Path) -> Backup:
    """Write everything a platform needs into one file, which its owner alone may read: it holds the keys.

    A server may run meanwhile: what is in the backup is the state of one moment, and blobs that come later do no harm.

    Raises:
        NotFoundError: the folder holds no SQLite database.
        HudError: the file cannot be written.
    """
    if recall(folder).database_url is not None or not folder.database.is_file():
        raise NotFoundError(
            f"{folder.root} holds no database to back up",
            hint="one in PostgreSQL is backed up by pg_dump; else name the folder with --data",
        )
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # The folder's lock, which `gc` takes too: no blob goes between the databases' copy and its own.
        with files.locked(folder.root), os.fdopen(descriptor, "wb") as file:
            backup = _write(folder, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except (OSError, sqlite3.Error) as error:
        raise HudError(f"cannot back up to {target}: {_reason(error)}", hint="is there room for it?") from error
    finally:
        beside.unlink(missing_ok=True)
    return backup


def restore(source: Path, folder: Path, *, force: bool = False) -> Backup:
    """Put a backup's data into a folder that has none.

    Args:
        force: Replace what is in the folder.

    Raises:
        UsageError: the folder is not empty.
        FolderInUse: a server has it.
        HudError: the file is no backup, is damaged, or is of a newer version; nothing was changed.
    """
    data = DataFolder(root=folder.expanduser().absolute())
    is_occupied = data.root.is_dir() and any(data.root.iterdir())
    with _opened(source) as archive:
        backup = _described(archive, source)
        if is_occupied and not force:
            raise UsageError(f"{data.root} is not empty", hint="--force replaces what is in it; or --data with another")
        with lock(open_folder(data.root)):
            _replace(archive, data, source)
    return backup


def _write(folder: DataFolder, file: io.BufferedWriter) -> Backup:
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder.root) as scratch:
        copies = [_copied(folder.root / name, Path(scratch)) for name in _DATABASES if (folder.root / name).is_file()]
        found = [path for part in _PARTS for path in _files(folder.root / part)]
        backup = Backup(format=_FORMAT, version=__version__, created_at=stamp(now()), files=len(copies) + len(found))
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            description = json.dumps(asdict(backup)).encode()
            member = tarfile.TarInfo(_DESCRIPTION)
            member.size = len(description)
            archive.addfile(member, io.BytesIO(description))
            for path in copies:
                archive.add(path, path.name)
            for path in found:
                _add(archive, path, path.relative_to(folder.root).as_posix())
    return backup


def _copied(database: Path, folder: Path) -> Path:
    copy = folder / database.name
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in sorted(names) if not name.endswith(".tmp"))


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file as long as it is now: a log may grow while it is read, and an upload may go."""
    try:
        with path.open("rb") as content:
            archive.addfile(archive.gettarinfo(arcname=name, fileobj=content), content)
    except FileNotFoundError:
        pass


def _opened(source: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(source, "r:")
    except FileNotFoundError:
        raise NotFoundError(f"no file {source}") from None
    except (tarfile.TarError, OSError) as error:
        raise HudError(f"{source} cannot be read as a backup: {_reason(error)}") from error


def _described(archive: tarfile.TarFile, source: Path) -> Backup:
    try:
        member = archive.next()
        if member is None or member.name != _DESCRIPTION or member.size > _LARGEST_DESCRIPTION_BYTES:
            raise ValueError("it does not begin as one")
        content = archive.extractfile(member)
        assert content is not None
        backup = Backup(**json.loads(content.read()))
    except (ValueError, TypeError, tarfile.TarError, OSError) as error:
        raise HudError(f"{source} is no backup of a platform: {_reason(error)}") from error
    if backup.format != _FORMAT:
        raise HudError(
            f"{source} is a backup of format {backup.format}, made by version {backup.version}",
            hint="pip install --upgrade 'hud-cli[platform]'",
        )
    return backup


def _replace(archive: tarfile.TarFile, data: DataFolder, source: Path) -> None:
    """Unpack beside what is there, check it, and only then take its place."""
    # A folder of this name tells the next start that a restore was cut off.
    scratch = data.restoring
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(mode=0o700)
        archive.extractall(scratch, filter="data")
        _check(DataFolder(root=scratch))
    except (tarfile.TarError, sqlite3.Error, OSError, HudError) as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise HudError(f"{source} cannot be restored: {_reason(error)}", hint="nothing was changed") from error
    replaced = (*_PARTS, "contexts", *(name + end for name in _DATABASES for end in ("", "-wal", "-shm")))
    for name in replaced:
        old, new = data.root / name, scratch / name
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
        if new.exists():
            new.rename(old)
    shutil.rmtree(scratch)
    open_folder(data.root)


def _check(data: DataFolder) -> None:
    if not data.database.is_file() or not data.encryption_key.is_file():
        raise HudError("the database or the encryption key is missing")
    for name in _DATABASES:
        path = data.root / name
        if path.is_file():
            with closing(sqlite3.connect(path)) as database:
                if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                    raise HudError(f"{name} is damaged")
    data.encryption_key.chmod(0o600)


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
