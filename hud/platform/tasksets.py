"""Tasksets of a platform: look them up, read them, upload rows, go back to an earlier revision.

Rows pass through here as the JSON they are; what they mean is `hud.sync`'s.

Source: platform API specification, section 7. Digests, batches, revisions and lists are an extension.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec

from hud.errors import NotFoundError, PlatformError, UsageError
from hud.names import dashed
from hud.platform.client import Platform
from hud.platform.records import (
    RevisionRecord,
    TaskRecord,
    TasksetName,
    TasksetRecord,
    TasksetSignatures,
    TaskUploadReply,
)

__all__ = [
    "BATCH_BYTES",
    "BATCH_ROWS",
    "Export",
    "export",
    "find",
    "list_tasksets",
    "records",
    "revisions",
    "rollback",
    "rows",
    "signatures",
    "upload",
    "upload_in_batches",
]

BATCH_ROWS = 2000
BATCH_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Export:
    """A whole taskset; its rows are not decoded."""

    name: str
    tasks: list[msgspec.Raw]


def find(platform: Platform, reference: str) -> TasksetRecord | None:
    """Give the taskset of this name or id, or None when there is none.

    Args:
        reference: A name, sent exactly as it is, or a UUID with or without dashes.

    Raises:
        UsageError: it is no text (bytes of a command line that are no UTF-8).
    """
    try:
        if identifier := dashed(reference):
            return platform.call("GET", f"/tasksets/{identifier}", into=TasksetRecord)
        named = platform.call("GET", f"/tasksets/by-name/{quote(reference, safe='')}", into=TasksetName)
        return platform.call("GET", f"/tasksets/{named.taskset_id}", into=TasksetRecord)
    except NotFoundError:
        return None
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{reference!r} is no name of a taskset: it is not UTF-8", hint="hud sync tasks NAME"
        ) from error


def list_tasksets(platform: Platform, *, search: str | None = None) -> Iterator[TasksetRecord]:
    """Give the tasksets whose names contain `search`, or all (extension)."""
    platform.need("tasksets", what="a list of tasksets")
    return platform.rows("/tasksets", into=TasksetRecord, params={"search": search})


def export(platform: Platform, taskset_id: str) -> Export:
    """Give all rows of a taskset.

    Raises:
        NotFoundError: there is no such taskset. (The public client takes that for an empty one.)
    """
    return platform.call("GET", f"/tasksets/{taskset_id}/export", into=Export)


def records(platform: Platform, taskset_id: str) -> list[TaskRecord]:
    """Give all rows of a taskset as records.

    Raises:
        NotFoundError: there is no such taskset.
        PlatformError: a record lacks a field.
    """
    path = f"/tasksets/{taskset_id}/export"
    exported = platform.call("GET", path, into=Export)
    return [platform.record(msgspec.json.decode(raw), into=TaskRecord, path=path) for raw in exported.tasks]


def signatures(platform: Platform, taskset_id: str) -> TasksetSignatures:
    """Give the digests of a taskset's rows (extension)."""
    return platform.call("GET", f"/tasksets/{taskset_id}/signatures", into=TasksetSignatures)


def rows(platform: Platform, taskset_id: str, slugs: Sequence[str]) -> list[msgspec.Raw]:
    """Give the export records of some rows (extension); those that are not there are left out."""
    found: list[msgspec.Raw] = []
    for start in range(0, len(slugs), BATCH_ROWS):
        part = slugs[start : start + BATCH_ROWS]
        body = {"slugs": list(part)}
        reply = platform.call("POST", f"/tasksets/{taskset_id}/rows", into=_Rows, body=body, idempotent=True)
        found += reply.tasks
    return found


def upload(
    platform: Platform,
    tasks: Iterable[bytes],
    *,
    name: str,
    taskset_id: str | None = None,
    project_id: str | None = None,
) -> TaskUploadReply:
    """Create and update rows in one request, as the public service takes them (specification, section 7.3).

    The platform tells rows by slug, so a lost reply may be asked for again (PA-07).

    Args:
        tasks: The JSON of each row in the form of an upload.
        name: The taskset's; it is made when there is none and no id is given.

    Raises:
        PlatformError: the platform refused it: an unknown environment or template, arguments that do not fit.
    """
    head = _target(name, taskset_id, project_id)
    body = b'%s,"tasks":[%s]}' % (json.dumps(head).encode()[:-1], b",".join(tasks))
    headers = {"Content-Type": "application/json"}
    return platform.call("POST", "/tasks/upload", into=TaskUploadReply, content=body, headers=headers, idempotent=True)


def upload_in_batches(
    platform: Platform,
    tasks: Iterable[bytes],
    *,
    name: str,
    taskset_id: str | None = None,
    project_id: str | None = None,
    remove: Sequence[str] = (),
    base_digest: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> TaskUploadReply:
    """Create, update and remove rows: sent in batches, and all of it becomes the next revision or nothing (extension).

    Args:
        tasks: The JSON of each row in the form of an upload.
        name: The taskset's; it is made when there is none and no id is given.
        remove: Slugs of rows that go.
        base_digest: The digest of the revision that was compared with; another one on the platform refuses the upload.
        progress: Told how many rows have arrived, after each batch.

    Raises:
        PlatformError: the platform refused it; of kind `conflict` when somebody else has synced meanwhile.
    """
    upload_id = uuid4()
    headers = {"Content-Type": "application/x-ndjson"}
    batches = arrived = 0
    for batch in _batches(tasks):
        path = f"/task-uploads/{upload_id}/{batches}"
        platform.call("PUT", path, into=None, content=b"\n".join(batch) + b"\n", headers=headers)
        batches += 1
        arrived += len(batch)
        progress(arrived)
    body: dict[str, Any] = {**_target(name, taskset_id, project_id), "batches": batches, "remove": list(remove)}
    if taskset_id is not None:
        del body["taskset_name"]
    if base_digest is not None:
        body["base_digest"] = base_digest
    try:
        path = f"/task-uploads/{upload_id}/commit"
        return platform.call("POST", path, into=TaskUploadReply, body=body, idempotent=True)
    except PlatformError as error:
        if error.status != 409 or base_digest is None or not _has_moved(platform, taskset_id or name, base_digest):
            raise
        raise PlatformError(
            f"someone else synced {name!r} since it was compared; nothing was uploaded",
            status=409,
            hint="run it again to see what is different now; --force uploads all the same",
        ) from error


def revisions(platform: Platform, taskset_id: str) -> Iterator[RevisionRecord]:
    """Give the states a taskset had, newest first (extension)."""
    platform.need("tasksets", what="the history of a taskset")
    return platform.rows(f"/tasksets/{taskset_id}/revisions", into=RevisionRecord)


def rollback(platform: Platform, taskset_id: str, revision: int) -> RevisionRecord:
    """Make a new revision with the content of an earlier one (extension).

    Raises:
        NotFoundError: there is no such revision.
    """
    platform.need("tasksets", what="going back to an earlier revision of a taskset")
    return platform.call("POST", f"/tasksets/{taskset_id}/rollback", into=RevisionRecord, body={"revision": revision})


@dataclass(frozen=True, kw_only=True)
class _Rows:
    tasks: list[msgspec.Raw]


def _has_moved(platform: Platform, reference: str, base_digest: str) -> bool:
    """Whether a taskset is not what it was compared as, which is one conflict of several."""
    found = find(platform, reference)
    return found is not None and signatures(platform, found.id).digest != base_digest


def _target(name: str, taskset_id: str | None, project_id: str | None) -> Mapping[str, str]:
    fields = {"taskset_name": name, "project_id": project_id, "taskset_id": taskset_id}
    return {key: value for key, value in fields.items() if value is not None}


def _batches(tasks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Split rows into batches within both limits; a row that is larger than a batch has one to itself."""
    batch: list[bytes] = []
    size_bytes = 0
    for task in tasks:
        if batch and (len(batch) == BATCH_ROWS or size_bytes + len(task) > BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(task)
        size_bytes += len(task) + 1
    if batch:
        yield batch
