"""What travels between a client and a platform, as plain dataclasses; `msgspec` decodes and encodes them.

A client ignores fields it does not know (PA-38), so a platform may add some. Ids are UUIDs in their dashed form,
times ISO 8601 in UTC with a `Z`, sizes bytes.

Source: platform API specification, sections 5 to 7 and 16. What is marked as an extension exists on this project's
own platform alone, which names it in its capability document (`GET /v2/capabilities`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "ENDED_STATUSES",
    "RUNNING_STATUSES",
    "BuildFrame",
    "BuildRecord",
    "BuildRequest",
    "BuildStarted",
    "BuildStatus",
    "BuildTicket",
    "Cancelled",
    "Capabilities",
    "ContextState",
    "DeviceCode",
    "DeviceKey",
    "EnvironmentRecord",
    "Extension",
    "Identity",
    "KeyRecord",
    "LatestBuild",
    "Manifest",
    "ManifestCapability",
    "ManifestTask",
    "MintedKey",
    "Page",
    "ProjectCapabilities",
    "ProjectRecord",
    "RevisionRecord",
    "Scope",
    "TaskRecord",
    "TaskUploadReply",
    "TasksetName",
    "TasksetRecord",
    "TasksetSignatures",
    "VersionRecord",
]

Extension = Literal["contexts", "builds", "environments", "tasksets", "keys"]
"""Groups of routes that this project's platform adds to the public ones:

contexts      uploads by content digest: `/v2/contexts`, `/v2/blobs`, `POST /v2/builds`
builds        `/v2/builds` (list), `/v2/builds/{id}/cancel`, and `?cursor=` on a build's log
environments  `/v2/registry/{id}/versions` and `/v2/registry/{id}/rollback`
tasksets      `/v2/tasksets` (list), signatures, revisions, rollback, and uploads in batches
keys          `/v2/keys`
"""

Scope = Literal["read", "write", "admin"]
"""What a key may do: `read` reads, `write` also deploys and syncs, `admin` also manages keys and the platform."""

RUNNING_STATUSES = frozenset({"IN_PROGRESS", "MIGRATING", "CANCELLING", "QUEUED", "PENDING"})
"""The last two are not in the public service's words, but a client that reads them waits (PA-38)."""
ENDED_STATUSES = frozenset({"SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT"})


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a list: the rows as they came, and how many there are in all."""

    items: list[dict[str, Any]]
    total: int


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a platform can do beyond the public API (extension)."""

    server: str
    version: str
    extensions: list[str] = field(default_factory=list)


# Identity


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose key it is; both ids outlive the key. `scope` and `key_name` are an extension."""

    user_id: str
    team_id: str
    scope: str | None = None
    key_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """An API key as it is listed: never the key itself (extension)."""

    id: str
    name: str
    prefix: str
    scope: Scope
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class MintedKey:
    """A new API key, shown this one time (extension)."""

    key: str
    record: KeyRecord


@dataclass(frozen=True, kw_only=True)
class DeviceCode:
    """The start of a device login (RFC 8628)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    verification_uri_complete: str | None = None
    interval: int = 5


@dataclass(frozen=True, kw_only=True)
class DeviceKey:
    """The end of a device login."""

    api_key: str
    user: dict[str, Any] | None = None
    team: dict[str, Any] | None = None


# Projects and environments


@dataclass(frozen=True, kw_only=True)
class ProjectCapabilities:
    """What the key may do in a project; a client reads a missing `create` as false."""

    create: bool = False


@dataclass(frozen=True, kw_only=True)
class ProjectRecord:
    """A project; `name` is the normalised one."""

    id: str
    name: str
    is_default: bool = False
    capabilities: ProjectCapabilities = ProjectCapabilities()
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class LatestBuild:
    """The current version of an environment, as a registry record carries it."""

    version: int | str | None = None
    digest: str | None = None
    uri: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class EnvironmentRecord:
    """An environment in the registry; `name` is the normalised one."""

    id: str
    name: str
    latest_build: LatestBuild | None = None
    project_id: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class VersionRecord:
    """One version of an environment (extension); `current` is the one that runs."""

    version: int
    digest: str
    uri: str
    size_bytes: int
    created_at: str
    current: bool
    build_id: str | None = None
    context_digest: str | None = None
    source_revision: str | None = None
    rolled_back_to: int | None = None
    tasks: list[str] = field(default_factory=list)


# Builds


@dataclass(frozen=True, kw_only=True)
class BuildTicket:
    """Where to put a context archive, and the id of the build it is for."""

    build_id: str
    upload_url: str


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What a build is asked to do, beside its context. Empty maps and unset fields do not travel.

    Attributes:
        build_id: Chosen by the client for a context build, so that asking twice starts one build.
        name: The environment's name as its code declares it; the platform normalises it.
        environment_variables: Laid over the stored ones; names that are left out keep their values (PA-11).
        build_secrets: Content by id, for this one build.
        source_revision: What the source was built from, such as a commit (extension).
    """

    build_id: str
    name: str
    no_cache: bool = False
    registry_id: str | None = None
    project_id: str | None = None
    runtime_provider: str | None = None
    runtime_config: dict[str, Any] | None = None
    environment_variables: dict[str, str] = field(default_factory=dict)
    build_args: dict[str, str] = field(default_factory=dict)
    build_secrets: dict[str, str] = field(default_factory=dict)
    source_revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class BuildStarted:
    """The reply to a trigger."""

    id: str
    registry_id: str


@dataclass(frozen=True, kw_only=True)
class BuildFrame:
    """One frame of a build's log.

    Attributes:
        type: `status`, `status_update`, `log`, `complete`, `error`, or one that is not known here.
        timestamp: Milliseconds since 1970; some services send an ISO string (PA-38).
        seq: The frame's place in the log, from 0; what a reader passes as `cursor` to go on after it (extension).
        step: The build step that printed it, such as `[2/4] RUN pip install .` (extension).
        ended: Whether the last line of `message` says how the step ended, such as `DONE 1.2s` (extension).
    """

    type: str
    message: str | None = None
    status: str | None = None
    error: str | None = None
    final_status: str | None = None
    timestamp: int | float | str | None = None
    seq: int | None = None
    step: str | None = None
    ended: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ManifestTask:
    """A task template of a built image; `args` is its JSON schema (extension)."""

    id: str
    description: str | None = None
    args: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ManifestCapability:
    """A capability of a built image; `protocol` is an extension."""

    name: str
    protocol: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a built image answered to `hello` and `tasks.list` in its smoke start."""

    tasks: list[ManifestTask] = field(default_factory=list)
    capabilities: list[ManifestCapability] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class BuildStatus:
    """The state of a build; everything but `status` may be missing.

    `digest` (the image's), `size_bytes`, `registry_id`, `registry_name`, `queued` and `context_digest` are an
    extension. While a build waits for its turn `status` is `IN_PROGRESS` and `queued` true (PA-16).
    """

    status: str
    version: int | str | None = None
    uri: str | None = None
    error_message: str | None = None
    manifest: Manifest | None = None
    duration_seconds: float | None = None
    registry_id: str | None = None
    registry_name: str | None = None
    digest: str | None = None
    size_bytes: int | None = None
    queued: bool | None = None
    context_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """A build in a list (extension)."""

    id: str
    registry_id: str
    registry_name: str
    status: str
    created_at: str
    queued: bool = False
    ended_at: str | None = None
    version: int | None = None
    error_message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """The reply to a cancellation: `accepted`, or `noop` when there was nothing to cancel."""

    status: str


@dataclass(frozen=True, kw_only=True)
class ContextState:
    """Which blobs of a context the platform lacks (extension)."""

    digest: str
    missing: list[str]


# Tasksets


@dataclass(frozen=True, kw_only=True)
class TasksetName:
    """The reply to a lookup by name."""

    taskset_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class TasksetRecord:
    """A taskset. `revision`, `digest`, `tasks` and `created_at` are an extension."""

    id: str
    name: str
    project_id: str | None = None
    can_edit: bool = False
    revision: int | None = None
    digest: str | None = None
    tasks: int | None = None
    created_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """A task row as an export has it: `name` is its slug, `scenario` the id of its template."""

    name: str
    env: str
    scenario: str
    args: dict[str, Any] | None = None
    validation: list[dict[str, Any]] | None = None
    agent_config: dict[str, Any] | None = None
    columns: dict[str, Any] | None = None
    runtime_config: dict[str, Any] | None = None
    verifier: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TasksetSignatures:
    """The digests of a taskset's rows, in hexadecimal digits by slug, and its own (extension)."""

    revision: int
    digest: str
    tasks: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class TaskUploadReply:
    """What an upload did. All but the first three are an extension."""

    taskset_id: str
    tasks_created: int
    tasks_updated: int
    tasks_removed: int = 0
    revision: int | None = None
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class RevisionRecord:
    """One immutable state of a taskset (extension); `digest` names its content, whatever the order of its rows."""

    revision: int
    digest: str
    tasks: int
    created: int
    updated: int
    removed: int
    created_at: str
    current: bool
    key_name: str | None = None
    rolled_back_to: int | None = None
