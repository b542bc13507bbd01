"""What a rollout asks of its substrate: an image or a Compose project, resources and limits.

A provider has defaults, a row has wishes, and `RuntimeConfig.merge` lays the second over the first. What a provider
cannot honour it refuses by name (`RuntimeConfig.refuse_unsupported`); nothing runs with less than was asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hud.errors import UsageError

__all__ = [
    "ComposeProject",
    "RuntimeConfig",
    "RuntimeGPU",
    "RuntimeLimits",
    "RuntimeResources",
    "RuntimeTPU",
]

_Part = TypeVar("_Part", bound="ComposeProject | RuntimeGPU | RuntimeTPU | RuntimeResources | RuntimeLimits")

_TOPOLOGY = re.compile(r"[1-9][0-9]*(x[1-9][0-9]*)+")


@dataclass(frozen=True, kw_only=True)
class RuntimeGPU:
    """Graphics processors for one substrate.

    Attributes:
        type: The model wanted ("H100"), or several of which any will do, or None for whatever there is.
        count: How many, at least 1.
    """

    type: str | tuple[str, ...] | None = None
    count: int = 1

    def __post_init__(self) -> None:
        wanted: object = self.type
        if isinstance(wanted, (list, tuple)):
            for name in wanted:
                _text("resources.gpu.type", name)
            if not wanted:
                raise UsageError("runtime config: resources.gpu.type is an empty list")
            object.__setattr__(self, "type", tuple(wanted))
        elif wanted is not None:
            _text("resources.gpu.type", wanted)
        object.__setattr__(self, "count", _whole("resources.gpu.count", self.count))

    @property
    def types(self) -> tuple[str, ...]:
        """The acceptable models, empty when any will do."""
        if self.type is None:
            return ()
        return (self.type,) if isinstance(self.type, str) else self.type


@dataclass(frozen=True, kw_only=True)
class RuntimeTPU:
    """A slice of tensor processors: its `type` ("v5e") and `topology` ("2x2")."""

    type: str
    topology: str

    def __post_init__(self) -> None:
        _text("resources.tpu.type", self.type)
        if not isinstance(self.topology, str) or not _TOPOLOGY.fullmatch(self.topology):
            raise UsageError(f"runtime config: resources.tpu.topology is {self.topology!r}, not of the form '2x2'")


@dataclass(frozen=True, kw_only=True)
class RuntimeResources:
    """What one substrate may use. None means the provider's default.

    Attributes:
        cpu: Processors, a fraction allowed, above 0.
        memory_mb: Memory in MiB.
        storage_mb: Free disk in MiB that the substrate must offer.
        gpu: Graphics processors.
        os: Operating system, such as "linux" or "windows".
        tpu: Tensor processors.
    """

    cpu: float | None = None
    memory_mb: int | None = None
    storage_mb: int | None = None
    gpu: RuntimeGPU | None = None
    os: str | None = None
    tpu: RuntimeTPU | None = None

    def __post_init__(self) -> None:
        if self.cpu is not None:
            object.__setattr__(self, "cpu", _positive("resources.cpu", self.cpu))
        for name in ("memory_mb", "storage_mb"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _whole(f"resources.{name}", value))
        if self.os is not None:
            _text("resources.os", self.os)
        object.__setattr__(self, "gpu", _part(RuntimeGPU, self.gpu, where="resources.gpu"))
        object.__setattr__(self, "tpu", _part(RuntimeTPU, self.tpu, where="resources.tpu"))


@dataclass(frozen=True, kw_only=True)
class RuntimeLimits:
    """How long one substrate may take. None means the provider's default.

    Attributes:
        startup_timeout_s: Seconds from starting it to its first `hello`, above 0.
        run_timeout_s: Seconds it may live in all, above 0.
    """

    startup_timeout_s: float | None = None
    run_timeout_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("startup_timeout_s", "run_timeout_s"):
            value = getattr(self, name)
            if value is not None:
                _positive(f"limits.{name}", value)


@dataclass(frozen=True, kw_only=True)
class ComposeProject:
    """A Compose project whose service `main` serves the control channel.

    Attributes:
        document: Path of the Compose file, or its content.
        root: The folder that holds everything the file refers to; a `document` path lies inside it. A platform's
            records carry an object here instead.
        service_access: Whether the engine's socket is given to `main`.
    """

    document: str | Mapping[str, Any]
    root: str | Mapping[str, Any] | None = None
    service_access: bool | None = None

    def __post_init__(self) -> None:
        document: object = self.document
        if not isinstance(document, Mapping):
            _text("compose.document", document)
        root: object = self.root
        if root is not None and not isinstance(root, Mapping):
            _text("compose.root", root)
        if self.service_access is not None and not isinstance(self.service_access, bool):
            raise UsageError(f"runtime config: compose.service_access is {self.service_access!r}, not true or false")


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """What one rollout asks of its substrate.

    Attributes:
        image: Reference of a container image. Excludes `compose`.
        compose: A Compose project. Excludes `image`.
        resources: CPU, memory, disk and accelerators.
        limits: Time limits.

    Raises:
        UsageError: A value out of range, of the wrong type, or both `image` and `compose`.
    """

    image: str | None = None
    compose: ComposeProject | None = None
    resources: RuntimeResources | None = None
    limits: RuntimeLimits | None = None

    def __post_init__(self) -> None:
        if self.image is not None:
            _text("image", self.image)
        object.__setattr__(self, "compose", _part(ComposeProject, self.compose, where="compose"))
        object.__setattr__(self, "resources", _part(RuntimeResources, self.resources, where="resources"))
        object.__setattr__(self, "limits", _part(RuntimeLimits, self.limits, where="limits"))
        if self.image is not None and self.compose is not None:
            raise UsageError("runtime config: image and compose exclude each other")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RuntimeConfig:
        """Read the JSON form.

        Raises:
            UsageError: An unknown key (the message has its path and the nearest known one), or a value that the
                constructors refuse.
        """
        config: RuntimeConfig = _build(cls, data, where="")
        return config

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form with the fields that are set and no others, so that stored rows compare equal."""
        return _compact(self)

    @staticmethod
    def merge(provider: RuntimeConfig | None, row: RuntimeConfig | None) -> RuntimeConfig:
        """Lay a row's config over a provider's, field by field.

        Resources and limits merge one by one (an accelerator is replaced whole: a count belongs to its type). A row
        that names an image drops an inherited Compose project, and the other way round.
        """
        base, over = provider or RuntimeConfig(), row or RuntimeConfig()
        chosen = over if over.image is not None or over.compose is not None else base
        return RuntimeConfig(
            image=chosen.image,
            compose=chosen.compose,
            resources=_overlay(base.resources, over.resources),
            limits=_overlay(base.limits, over.limits),
        )

    def fields_set(self) -> tuple[str, ...]:
        """The dotted names of the fields that ask for something, such as `image` or `resources.cpu`."""
        names = [name for name in ("image", "compose") if getattr(self, name) is not None]
        for group in ("resources", "limits"):
            part = getattr(self, group)
            if part is not None:
                names += [f"{group}.{f.name}" for f in dataclasses.fields(part) if getattr(part, f.name) is not None]
        return tuple(names)

    def refuse_unsupported(self, provider_name: str, supported: Collection[str]) -> None:
        """Refuse what a provider cannot honour.

        Args:
            provider_name: Shown in the message, such as "LocalRuntime".
            supported: Dotted names as `fields_set` gives them.

        Raises:
            UsageError: A field outside `supported` is set; the message names every such field.
        """
        refused = [name for name in self.fields_set() if name not in supported]
        if refused:
            raise UsageError(
                f"{provider_name} cannot honour {', '.join(f'runtime_config.{name}' for name in refused)}",
                hint="use a runtime that can, or drop the field from the row",
            )


def _build(cls: type[Any], data: object, *, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UsageError(f"runtime config: {where or 'the config'} is {data!r}, not an object")
    known = [f.name for f in dataclasses.fields(cls)]
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"the keys are {', '.join(known)}"
            raise UsageError(f"runtime config: unknown key {prefix}{key}", hint=hint)
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    for name in required:
        if data.get(name) is None:
            raise UsageError(f"runtime config: {prefix}{name} is missing")
    return cls(**{key: value for key, value in data.items() if value is not None})


def _part(cls: type[_Part], value: object, *, where: str) -> _Part | None:
    """Accept a part as itself or in its JSON form."""
    if value is None or isinstance(value, cls):
        return value
    built: _Part = _build(cls, value, where=where)
    return built


def _overlay(base: Any, over: Any) -> Any:
    if base is None or over is None:
        return over or base
    wishes = {f.name: getattr(over, f.name) for f in dataclasses.fields(over)}
    return dataclasses.replace(base, **{name: value for name, value in wishes.items() if value is not None})


def _compact(part: Any) -> dict[str, Any]:
    """Drop what is unset and what is empty; a GPU count of 1 is the default and is not written."""
    row: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value is None or (field.name == "count" and value == 1):
            continue
        if dataclasses.is_dataclass(value):
            value = _compact(value)
            if not value:
                continue
        elif isinstance(value, tuple):
            value = list(value)
        row[field.name] = value
    return row


def _text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"runtime config: {name} is {value!r}, not a non-empty string")


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise UsageError(f"runtime config: {name} is {value!r}, not a number above 0")
    return float(value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1 or value < 1:
        raise UsageError(f"runtime config: {name} is {value!r}, not a whole number of at least 1")
    return int(value)
