"""The task rows of a platform's taskset: a digest for each slug, and the few rows that somebody wants to see.

A platform with the `tasksets` extension is asked for digests alone; every other one for its whole export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from hud.errors import PlatformError, UsageError
from hud.platform import tasksets
from hud.platform.client import Platform
from hud.platform.records import TasksetRecord
from hud.sync.records import Signed, client_row, record_signer
from hud.sync.signature import DIGEST_BYTES, taskset_digest

__all__ = ["RemoteRows", "export_rows", "fetch"]


class RemoteRows:
    """The rows of a taskset on a platform.

    Attributes:
        digests: The digest of each row by its slug.
        base_digest: What names this state of the taskset, where the platform says it.
    """

    def __init__(
        self,
        digests: dict[str, bytes],
        read: Callable[[Iterable[str]], Iterable[msgspec.Raw]],
        *,
        base_digest: str | None = None,
    ) -> None:
        self.digests = digests
        self.base_digest = base_digest
        self._read = read

    @classmethod
    def none(cls) -> RemoteRows:
        """Give the rows of a taskset that is not there: one that somebody else makes meanwhile is another."""
        return cls({}, lambda _: (), base_digest=taskset_digest({}))

    def rows(self, slugs: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Give the client rows of these slugs, in no certain order; only rows that differ from those here are kept."""
        for raw in self._read(slugs):
            yield client_row(msgspec.json.decode(raw))


def fetch(platform: Platform, taskset: TasksetRecord, local: Mapping[str, bytes]) -> RemoteRows:
    """Ask for the rows of a taskset.

    Args:
        local: The digests here: of the rows that are equal nothing else is kept.

    Raises:
        PlatformError: the taskset holds a row that no client can use.
    """
    if "tasksets" in platform.extensions:
        return _signatures(platform, taskset)
    return _export(platform, taskset, local)


def export_rows(platform: Platform, taskset: TasksetRecord) -> Iterator[dict[str, Any]]:
    """Give all client rows of a taskset, in the platform's order.

    Raises:
        NotFoundError: it is not there (any more).
        PlatformError: it holds a row that no client can use.
    """
    sign = record_signer()
    for index, raw in enumerate(tasksets.export(platform, taskset.id).tasks):
        _signed(sign, raw, index, taskset)
        yield client_row(msgspec.json.decode(raw))


def _signatures(platform: Platform, taskset: TasksetRecord) -> RemoteRows:
    state = tasksets.signatures(platform, taskset.id)
    try:
        digests = {slug: bytes.fromhex(text) for slug, text in state.tasks.items()}
    except ValueError as error:
        raise _unusable(taskset, f"a digest is no hexadecimal number: {error}") from error
    if not all(len(digest) == DIGEST_BYTES for digest in digests.values()):
        raise _unusable(taskset, f"a digest has not {DIGEST_BYTES} bytes")

    def read(slugs: Iterable[str]) -> list[msgspec.Raw]:
        return tasksets.rows(platform, taskset.id, sorted(slugs))

    return RemoteRows(digests, read, base_digest=state.digest)


def _export(platform: Platform, taskset: TasksetRecord, local: Mapping[str, bytes]) -> RemoteRows:
    digests: dict[str, bytes] = {}
    different: dict[str, msgspec.Raw] = {}
    sign = record_signer()
    for index, raw in enumerate(tasksets.export(platform, taskset.id).tasks):
        slug, digest = _signed(sign, raw, index, taskset)
        if slug in digests:
            raise _unusable(taskset, f"two records have the name {slug!r}")
        digests[slug] = digest
        here = local.get(slug)
        if here is not None and here != digest:
            different[slug] = raw.copy()  # a view would keep the whole reply
    return RemoteRows(digests, lambda slugs: [different[slug] for slug in slugs if slug in different])


def _signed(sign: Callable[[msgspec.Raw], Signed], raw: msgspec.Raw, index: int, taskset: TasksetRecord) -> Signed:
    try:
        return sign(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise _unusable(taskset, f"record {index}: {error}") from error


def _unusable(taskset: TasksetRecord, reason: str) -> PlatformError:
    return PlatformError(
        f"taskset {taskset.name!r} ({taskset.id}) cannot be read: {reason}",
        status=200,
        hint="mend or remove that row on the platform",
    )
