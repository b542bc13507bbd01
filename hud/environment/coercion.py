"""JSON values into the types that a template's author wrote down, or a refusal that names what was expected.

Lenient where JSON or a command line is: `"5"` is an `int`, `"yes"` a `bool`, JSON text in a string an object.
Never open: a value that does not fit is refused (the public implementation passes it through).
Types of pydantic and msgspec are handed to those libraries, which are there because the author imported them.
"""

from __future__ import annotations

import enum
import json
import operator
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

__all__ = ["Mismatch", "coerce", "describe", "field_types", "unsupported"]

_TRUE = {"1", "true", "t", "yes", "y", "on"}
_FALSE = {"0", "false", "f", "no", "n", "off"}
_PLAIN = {int: "an integer", float: "a number", bool: "a boolean", str: "a string", type(None): "null"}
_FROM_TEXT = {"datetime": ("datetime", "date", "time"), "uuid": ("UUID",), "decimal": ("Decimal",)}
_FROM_TEXT["fractions"] = ("Fraction",)
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "below"),
    "multiple_of": (lambda value, factor: value % factor == 0, "a multiple of"),
    "min_length": (lambda value, length: len(value) >= length, "of a length of at least"),
    "max_length": (lambda value, length: len(value) <= length, "of a length of at most"),
}
_SEQUENCES: dict[Any, Any] = {list: list, tuple: tuple, set: set, frozenset: frozenset}


class Mismatch(ValueError):
    """A value that does not fit its annotation; the text continues "must be …"."""


def coerce(value: Any, annotation: Any) -> Any:
    """Give `value` as an instance of `annotation`.

    A string that does not fit is tried once more as JSON text (protocol specification, section 5.2).

    Raises:
        Mismatch: neither form fits.
    """
    if type(value) is annotation:
        return value
    try:
        return _fit(value, annotation)
    except Mismatch:
        if not isinstance(value, str):
            raise
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = value
        if isinstance(parsed, str):
            raise
        return _fit(parsed, annotation)


def describe(annotation: Any) -> str:
    """Name a type in words for a message: `an integer`, `a list of strings`, `one of 'a', 'b'`."""
    annotation, _ = _unwrap(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if _is_union(origin):
        return " or ".join(describe(choice) for choice in arguments)
    kind = origin or annotation
    if kind in _SEQUENCES:
        inner = next((a for a in arguments if a is not Ellipsis), Any)
        return "a list" if inner is Any else f"a list whose items are each {describe(inner)}"
    if kind is dict or _is_mapping(kind):
        return "an object"
    if _is_enum(kind):
        return "one of " + ", ".join(repr(member.value) for member in kind)
    return f"a {getattr(kind, '__name__', str(kind))}"


def unsupported(annotation: Any, seen: tuple[Any, ...] = ()) -> Any | None:
    """Give the part of an annotation that no JSON value can ever become, or None when all of it is usable.

    Raises:
        NameError: a field of a record in it has an annotation that does not resolve.
    """
    if annotation in seen:
        return None  # a type that contains itself
    seen = (*seen, annotation)
    annotation, _ = _unwrap(annotation)
    try:
        hash(annotation)
    except TypeError:  # a list or an object, written where a type belongs
        return annotation
    if annotation is Any or annotation is object or annotation in _PLAIN or isinstance(annotation, typing.TypeVar):
        return None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return next((choice for choice in arguments if isinstance(choice, bytes)), None)
    for argument in arguments:
        if argument is not Ellipsis and (inner := unsupported(argument, seen)) is not None:
            return inner
    kind = origin or annotation
    if _is_union(origin) or kind in _SEQUENCES or kind is dict or _is_mapping(kind) or _is_sequence(kind):
        return None
    if _foreign(kind) or _is_text_type(kind) or _is_enum(kind):
        return None
    if not _is_record(kind):
        return annotation
    fields = (unsupported(hint, seen) for hint in field_types(annotation).values())
    return next((part for part in fields if part is not None), None)


def _fit(value: Any, annotation: Any) -> Any:
    annotation, metadata = _unwrap(annotation)
    if metadata:
        return _fit_constrained(value, annotation, metadata)
    if annotation is Any or annotation is object or isinstance(annotation, typing.TypeVar):
        return value
    if annotation in _PLAIN:
        return _fit_plain(value, annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return _fit_literal(value, arguments, annotation)
    if _is_union(origin):
        return _fit_union(value, arguments, annotation)
    kind = origin or annotation
    if kind in _SEQUENCES or _is_sequence(kind):
        return _fit_sequence(value, kind, arguments, annotation)
    if kind is dict or _is_mapping(kind):
        if not isinstance(value, dict):
            raise _mismatch(value, annotation)
        key_type, value_type = arguments if len(arguments) == 2 else (Any, Any)
        return _built(dict, [(coerce(key, key_type), coerce(item, value_type)) for key, item in value.items()])
    if foreign := _foreign(kind):
        return _fit_foreign(value, annotation, foreign)
    if _is_enum(kind):
        return _fit_enum(value, kind)
    if isinstance(value, kind) if isinstance(kind, type) and not typing.is_typeddict(kind) else False:
        return value
    if _is_text_type(kind):
        return _fit_text(value, kind)
    if _is_record(kind):
        return _fit_record(value, annotation)
    raise _mismatch(value, annotation)


def _fit_plain(value: Any, kind: Any) -> Any:
    if kind is bool:
        if isinstance(value, str) and (word := value.strip().lower()) in _TRUE | _FALSE:
            return word in _TRUE
        if value in (0, 1) and isinstance(value, int | float):
            return bool(value)
    elif kind is int:
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif kind is float:
        if isinstance(value, int | float):
            try:
                return float(value)
            except OverflowError:
                raise _mismatch(value, kind) from None
    elif kind is type(None):
        if value is None:
            return None
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind in (int, float) and isinstance(value, str):
        try:
            return kind(value.strip())
        except ValueError:
            pass
    raise _mismatch(value, kind)


def _fit_literal(value: Any, choices: tuple[Any, ...], annotation: Any) -> Any:
    for choice in choices:
        plain = choice.value if _is_enum(type(choice)) else choice
        if value == plain and type(value) is type(plain):
            return choice
    raise _mismatch(value, annotation)


def _fit_union(value: Any, choices: tuple[Any, ...], annotation: Any) -> Any:
    for choice in choices:  # an exact member first: `int | str` keeps "5" a string
        if type(value) is choice:
            return value
    for choice in choices:
        try:
            return _fit(value, choice)
        except Mismatch:
            continue
    raise _mismatch(value, annotation)


def _fit_sequence(value: Any, kind: Any, arguments: tuple[Any, ...], annotation: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _mismatch(value, annotation)
    make = _SEQUENCES.get(kind, list)
    if make is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise Mismatch(f"a list of {len(arguments)} items, got {len(value)}")
        return tuple(coerce(item, inner) for item, inner in zip(value, arguments, strict=True))
    inner = arguments[0] if arguments else Any
    return _built(make, [coerce(item, inner) for item in value])


def _built(make: Any, items: list[Any]) -> Any:
    try:
        return make(items)
    except TypeError as error:  # an item of a set, or a key, that has no hash
        raise Mismatch(f"a {make.__name__}: {error}") from None


def _fit_text(value: Any, kind: Any) -> Any:
    """Read what JSON can only write as text: dates, UUIDs, paths, exact numbers."""
    if kind.__name__ in ("Decimal", "Fraction") and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _mismatch(value, kind)
    try:
        return getattr(kind, "fromisoformat", kind)(value)
    except (ValueError, ArithmeticError):
        raise _mismatch(value, kind) from None


def _fit_enum(value: Any, kind: Any) -> Any:
    try:
        return kind(value)
    except Exception:  # noqa: BLE001  an enumeration may look for missing values with code of its own
        if isinstance(value, str) and value in kind.__members__:
            return kind[value]
        raise _mismatch(value, kind) from None


def _fit_record(value: Any, annotation: Any) -> Any:
    """Fill a dataclass, a typed dictionary or a named tuple from an object, a named tuple from a list as well."""
    kind = typing.get_origin(annotation) or annotation
    hints = field_types(annotation)
    if hasattr(kind, "_field_defaults") and isinstance(value, list | tuple) and len(value) <= len(hints):
        value = dict(zip(hints, value, strict=False))
    if not isinstance(value, dict):
        raise _mismatch(value, kind)
    unknown = [name for name in value if name not in hints]
    if unknown:
        raise Mismatch(f"a {kind.__name__}, which has no field {unknown[0]!r}")
    missing = [name for name in _required_fields(kind, hints) if name not in value]
    if missing:
        raise Mismatch(f"a {kind.__name__} with the field {missing[0]!r}")
    fields = {}
    for name, item in value.items():
        try:
            fields[name] = coerce(item, hints[name])
        except Mismatch as error:
            raise Mismatch(f"a {kind.__name__} whose {name!r} is {error}") from None
    if typing.is_typeddict(kind):
        return fields
    try:
        return kind(**fields)
    except Exception as error:  # what the author's own check raised is the reason
        raise Mismatch(f"a {kind.__name__}: {str(error) or type(error).__name__}") from error


def field_types(annotation: Any) -> dict[str, Any]:
    """Give the annotations of the fields of a record that a value may set, by name; type parameters are filled in."""
    kind = typing.get_origin(annotation) or annotation
    hints = typing.get_type_hints(kind, include_extras=True)
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        hints = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    elif hasattr(kind, "_field_defaults"):
        hints = {name: hints.get(name, Any) for name in kind._fields}
    given = dict(zip(getattr(kind, "__parameters__", ()), typing.get_args(annotation), strict=False))
    return {name: _filled_in(hint, given) for name, hint in hints.items()} if given else hints


def _filled_in(hint: Any, given: dict[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(parameter, parameter) for parameter in parameters)] if parameters else hint


def _required_fields(kind: Any, hints: dict[str, Any]) -> list[str]:
    if typing.is_typeddict(kind):
        # Where annotations are text (`from __future__ import annotations`), the class took NotRequired for required.
        marks = {name: typing.get_origin(hint) for name, hint in hints.items()}
        return [
            name
            for name, mark in marks.items()
            if mark is typing.Required or (mark is not typing.NotRequired and name in kind.__required_keys__)
        ]
    if hasattr(kind, "_field_defaults"):
        return [name for name in hints if name not in kind._field_defaults]
    import dataclasses

    return [
        field.name
        for field in dataclasses.fields(kind)
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]


def _fit_foreign(value: Any, annotation: Any, library: str) -> Any:
    """Let pydantic or msgspec fit its own type, by its own rules."""
    module = sys.modules[library]
    try:
        if library == "pydantic":
            return module.TypeAdapter(annotation).validate_python(value)
        return module.convert(value, annotation, strict=False)
    except Exception as error:  # noqa: BLE001  a validator of the author's may raise anything
        raise Mismatch(f"{describe(annotation)}: {_first_line(error)}") from None


def _fit_constrained(value: Any, annotation: Any, metadata: tuple[Any, ...]) -> Any:
    """Fit `Annotated[T, …]`: bounds of pydantic, annotated-types and msgspec hold; other notes say nothing here."""
    for library in {type(note).__module__.partition(".")[0] for note in metadata}:
        if library in ("pydantic", "annotated_types") and "pydantic" in sys.modules:
            return _fit_foreign(value, typing.Annotated[(annotation, *metadata)], "pydantic")
        if library == "msgspec":
            notes = tuple(note for note in metadata if type(note).__module__.startswith("msgspec"))
            return _fit_foreign(value, typing.Annotated[(annotation, *notes)], "msgspec")
    fitted = _fit(value, annotation)
    for note in metadata:
        for name, (holds, words) in _BOUNDS.items():
            bound = getattr(note, name, None)
            if bound is not None and not holds(fitted, bound):
                raise Mismatch(f"{words} {bound}, got {fitted!r}")
    return fitted


def _mismatch(value: Any, annotation: Any) -> Mismatch:
    shown = repr(value)
    return Mismatch(f"{describe(annotation)}, got {shown if len(shown) <= 80 else shown[:77] + '...'}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pydantic: a title, then pairs of location and reason; the location is worth keeping.
    return " ".join(lines[1:3]) if len(lines) > 1 else lines[0] if lines else type(error).__name__


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Take `Annotated`, `Required`, `NotRequired`, `NewType` and `type X = …` off an annotation."""
    metadata: tuple[Any, ...] = ()
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            metadata += annotation.__metadata__
            annotation = annotation.__origin__
        elif origin in (typing.Required, typing.NotRequired):
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return (type(None) if annotation is None else annotation), metadata


def _foreign(kind: Any) -> str | None:
    if hasattr(kind, "__get_pydantic_core_schema__") or hasattr(kind, "__pydantic_fields__"):
        return "pydantic" if "pydantic" in sys.modules else None
    return "msgspec" if hasattr(kind, "__struct_fields__") else None


def _is_union(origin: Any) -> bool:
    return origin is typing.Union or origin is types.UnionType


def _is_mapping(kind: Any) -> bool:
    return getattr(kind, "__module__", "") == "collections.abc" and kind.__name__ in ("Mapping", "MutableMapping")


def _is_sequence(kind: Any) -> bool:
    names = ("Sequence", "MutableSequence", "Iterable", "Collection")
    return getattr(kind, "__module__", "") == "collections.abc" and kind.__name__ in names


def _is_text_type(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    module = kind.__module__.partition(".")[0]
    return kind.__name__ in _FROM_TEXT.get(module, ()) or (module == "pathlib" and kind.__name__.endswith("Path"))


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (
        hasattr(kind, "__dataclass_fields__") or typing.is_typeddict(kind) or hasattr(kind, "_field_defaults")
    )


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, enum.EnumMeta)
