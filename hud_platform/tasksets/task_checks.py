"""Whether a project's environments know what task rows ask of them: environment, template and arguments (PA-20)."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import jsonschema_rs
import msgspec
from sqlalchemy import select

from hud.names import normalise
from hud.platform.records import Manifest, ManifestTask
from hud_platform.storage.tables import environments, versions
from hud_platform.tasksets.task_rows import Part, TaskRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Checks", "Problems"]

_MOST_TOLD = 20
_MOST_NAMED = 5
_LONGEST_REASON = 300
_NAMES_AT_ONCE = 500


@dataclass
class Problems:
    """What is wrong with an upload: the first lines, and how many there are.

    Attributes:
        lines: One a problem, each naming its row.
        count: Of all, those that are not told too.
    """

    lines: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: str) -> None:
        self.count += 1
        if len(self.lines) < _MOST_TOLD:
            self.lines.append(line)

    def detail(self) -> str:
        """Give all that is told, a line each."""
        more = [f"… and {self.count - len(self.lines)} more"] if self.count > len(self.lines) else []
        return "\n".join((*self.lines, *more))


class Checks:
    """The environments of a project, looked up once for an upload.

    Attributes:
        project: The project's name, for messages.
    """

    def __init__(self, *, project_id: uuid.UUID, project: str) -> None:
        self.project = project
        self._project_id = project_id
        self._known: dict[str, _Environment | None] = {}

    def unknown(self, names: Iterable[str]) -> set[str]:
        """Give those names of environments that were not looked up yet."""
        return set(names) - self._known.keys()

    async def look_up(self, connection: AsyncConnection, names: Iterable[str]) -> None:
        """Look environments up by their names, in any form that normalises to them."""
        wanted = {name: normalise(name) for name in names}
        found: dict[str, _Environment] = {}
        keys = sorted(set(wanted.values()))
        for start in range(0, len(keys), _NAMES_AT_ONCE):
            query = (
                select(environments.c.name, versions.c.number, versions.c.manifest)
                .outerjoin(
                    versions,
                    (versions.c.environment_id == environments.c.id)
                    & (versions.c.number == environments.c.current_version),
                )
                .where(
                    environments.c.project_id == self._project_id,
                    environments.c.name.in_(keys[start : start + _NAMES_AT_ONCE]),
                )
            )
            for row in await connection.execute(query):
                found[row.name] = _Environment.of(row.name, row.number, row.manifest)
        self._known.update({name: found.get(key) for name, key in wanted.items()})

    def learn(self, name: str, *, number: int | None, manifest: Any) -> None:
        """Take an environment as its current version is described, None for one without any."""
        self._known[name] = _Environment.of(name, number, manifest)

    def problems(self, row: TaskRow) -> Iterator[str]:
        """Give what its environment, and its verifier's, have against a row: a line each, nothing for a good one.

        Every environment of it has to be looked up.
        """
        if (problem := self._problem(row.task)) is not None:
            yield f"task {row.slug!r}: {problem}"
        if row.verifier is not None and (problem := self._problem(row.verifier)) is not None:
            yield f"task {row.slug!r}: its verifier: {problem}"

    def _problem(self, part: Part) -> str | None:
        environment = self._known[part.env]
        if environment is None:
            return f"the project {self.project!r} has no environment {_short(part.env)!r}; hud deploy makes it"
        if environment.number is None:
            return f"the environment {environment.name!r} has no version yet; hud deploy makes one"
        template = environment.tasks.get(part.task)
        if template is None:
            return environment.lacks(part.task)
        return template.problem(part.args)


@dataclass(frozen=True, kw_only=True)
class _Environment:
    name: str
    number: int | None
    tasks: dict[str, _Template]

    @classmethod
    def of(cls, name: str, number: int | None, manifest: Any) -> _Environment:
        if number is None:
            return cls(name=name, number=None, tasks={})
        known = msgspec.convert(manifest, Manifest)
        return cls(name=name, number=number, tasks={task.id: _template(task) for task in known.tasks})

    def lacks(self, task_id: str) -> str:
        near = difflib.get_close_matches(task_id[:200], self.tasks, n=1)
        names = ", ".join(sorted(self.tasks)[:_MOST_NAMED])
        more = ", …" if len(self.tasks) > _MOST_NAMED else ""
        hint = f"did you mean {near[0]!r}?" if near else f"it has {names}{more}" if names else "it has none"
        return f"version {self.number} of the environment {self.name!r} has no task {_short(task_id)!r}; {hint}"


class _Template:
    """The arguments that a task template takes."""

    def __init__(self, task_id: str, schema: Any) -> None:
        self._task_id = task_id
        self._defect: str | None = None
        try:
            self._validator = jsonschema_rs.validator_for(schema, retriever=_refuse)
        except ValueError as error:
            reason = _short(str(error).partition("\n")[0])
            self._defect = f"the environment describes the args of {task_id!r} with a schema that is none: {reason}"

    def problem(self, args: dict[str, Any]) -> str | None:
        """Say why arguments do not fit, or give None when they do."""
        if self._defect is not None:
            return self._defect
        if self._validator.is_valid(args):
            return None
        error = next(iter(self._validator.iter_errors(args)))
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        where = f" at args{_short(place)}" if place else ""
        return f"args do not fit {self._task_id!r}: {_short(error.message)}{where}"


def _template(task: ManifestTask) -> _Template:
    return _compiled(task.id, msgspec.json.encode(task.args if task.args is not None else True))


@lru_cache(maxsize=1024)
def _compiled(task_id: str, schema: bytes) -> _Template:
    """Compile what a version of an environment says of a task; versions that say the same share it."""
    return _Template(task_id, msgspec.json.decode(schema))


def _refuse(uri: str) -> NoReturn:
    # A schema comes out of an image that somebody built: it must not make the platform fetch addresses or read files.
    raise ValueError(f"{uri} is outside of the schema")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
