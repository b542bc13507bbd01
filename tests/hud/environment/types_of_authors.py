"""Types as authors write them for template arguments."""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Corner(enum.Enum):
    ORIGIN = (0, 0)


class Guess(enum.Enum):
    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Guess:
        raise RuntimeError(f"no guess for {value}")


@dataclass
class Point:
    x: int
    y: int = 0
    label: str | None = None


@dataclass
class Path2:
    points: list[Point]
    color: Color = Color.RED


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise RuntimeError("value is negative")


@dataclass
class Odd:
    limit: ClassVar[int] = 3
    made: int = field(init=False, default=7)
    given: int = 0


@dataclass
class Box(Generic[T]):
    content: T
    others: list[T] = field(default_factory=list)


@dataclass
class Dangling:
    other: NoSuchType  # type: ignore[name-defined]  # noqa: F821


@dataclass
class Raw:
    data: bytes


class Row(TypedDict):
    name: str
    size: NotRequired[int]


class Loose(TypedDict, total=False):
    name: str


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Model(pydantic.BaseModel):
    count: int = pydantic.Field(ge=1, le=10)
    name: str = "n"


class Strict(pydantic.BaseModel):
    value: int

    @pydantic.field_validator("value")
    @classmethod
    def _no(cls, value: int) -> int:
        if value == 13:
            raise RuntimeError("unlucky")
        return value


class Nested(pydantic.BaseModel):
    models: list[Model]
    parent: Nested | None = None


class Struct(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=0)]
    name: str = "s"


Small = Annotated[int, pydantic.Field(ge=1, le=3)]
Short = Annotated[str, msgspec.Meta(max_length=3)]
Anything = Any
Seed = InitVar[int]


class Bound:
    """A note as annotated-types writes it, for where pydantic is not there."""

    def __init__(self, **bounds: Any) -> None:
        self.__dict__.update(bounds)
