"""JSON Schemas of template arguments, in the shape of `tasks.list` (protocol specification, section 4.2)."""

from __future__ import annotations

import json
import sys
import typing
from typing import Any

from hud.environment import coercion
from hud.environment.signature import MISSING, Signature
from hud.wire import encode

__all__ = ["Definitions", "arguments_schema", "declared_schema", "type_schema"]

_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}
_FORMATS = {"datetime": "date-time", "date": "date", "time": "time", "UUID": "uuid", "Decimal": "decimal"}


class Definitions(dict[str, Any]):
    """The schemas of named types, by the name under which `$ref` finds them."""

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[str, Any] = {}

    def name(self, annotation: Any) -> str:
        """Name a type: as its author did, and with its module where another type has that name already."""
        kind = typing.get_origin(annotation) or annotation
        arguments = "".join(f"_{getattr(part, '__name__', 'any')}" for part in typing.get_args(annotation))
        full = f"{kind.__module__}.{kind.__qualname__}".replace("<locals>.", "")
        for name in (kind.__name__ + arguments, full + arguments):
            if self._owners.setdefault(name, annotation) == annotation:
                return name
        return f"{full}{arguments}_{id(kind):x}"


def arguments_schema(signature: Signature, hints: dict[str, Any]) -> dict[str, Any]:
    """Describe the arguments a template takes: one property a named parameter, private names left out.

    Args:
        hints: The resolved annotations by parameter name.
    """
    definitions = Definitions()
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in signature.parameters.items():
        if name.startswith("_"):
            continue
        schema = type_schema(hints[name], definitions) if name in hints else {}
        properties[name] = _property(name, schema, parameter.default)
        if parameter.default is MISSING:
            required.append(name)
    result: dict[str, Any] = {"properties": properties}
    if required:
        result["required"] = required
    result["type"] = "object"
    result["additionalProperties"] = signature.open
    if definitions:
        result["$defs"] = definitions
    return result


def declared_schema(declared: Any) -> dict[str, Any]:
    """Describe what a template declared as its `input` or `returns`: a type, or a JSON Schema, which is left alone.

    The schema of a named type stands there itself, where clients look for its properties, unless it contains itself.
    """
    if isinstance(declared, dict):
        return declared
    definitions = Definitions()
    schema = type_schema(declared, definitions)
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    if schema.keys() == {"$ref"} and f'"#/$defs/{name}"' not in json.dumps(definitions):
        schema = definitions.pop(name)
    return schema | ({"$defs": dict(definitions)} if definitions else {})


def _property(name: str, schema: dict[str, Any], default: object) -> dict[str, Any]:
    """Give an argument or a field its default and its title; what is a named type, or that or null, has a title."""
    if default is not MISSING:
        schema = {"default": _plain_default(default), **schema}
    choices = schema.get("anyOf", ())
    if "$ref" not in schema and not (len(choices) == 2 and "$ref" in choices[0] and choices[1] == {"type": "null"}):
        schema.setdefault("title", name.replace("_", " ").title())
    return schema


def type_schema(annotation: Any, definitions: Definitions) -> dict[str, Any]:
    """Describe one annotation; named records go into `definitions` and are referred to by `$ref`."""
    annotation, metadata = coercion._unwrap(annotation)
    schema = _bare_schema(annotation, definitions)
    for note in metadata:
        schema = schema | _note_schema(note, "array" if schema.get("type") == "array" else "string")
        hint = getattr(note, "hud_hint", None)
        if hint is not None:
            schema = {**schema, "x-hud-hint": hint}
    return schema


def _note_schema(note: Any, kind: str) -> dict[str, Any]:
    """Describe the bounds and words in one note of `Annotated[…]`: pydantic's, msgspec's or annotated-types'."""
    if isinstance(getattr(note, "metadata", None), list):  # pydantic's Field(…) holds a list of such notes
        found = {key: value for inner in note.metadata for key, value in _note_schema(inner, kind).items()}
        words = {key: text for key in ("title", "description") if (text := getattr(note, key, None)) is not None}
        more = getattr(note, "json_schema_extra", None)
        return found | words | (more if isinstance(more, dict) else {})
    size = ("minItems", "maxItems") if kind == "array" else ("minLength", "maxLength")
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    names |= {"multiple_of": "multipleOf", "pattern": "pattern", "min_length": size[0], "max_length": size[1]}
    found = {key: getattr(note, name, None) for name, key in names.items()}
    return {key: value for key, value in found.items() if isinstance(value, int | float | str)}


def _bare_schema(annotation: Any, definitions: Definitions) -> dict[str, Any]:
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return _enumeration(list(arguments))
    if coercion._is_union(origin):
        return {"anyOf": [type_schema(choice, definitions) for choice in arguments]}
    kind = origin or annotation
    if kind in coercion._SEQUENCES or coercion._is_sequence(kind):
        return _sequence(kind, arguments, definitions)
    if kind is dict or coercion._is_mapping(kind):
        schema: dict[str, Any] = {"type": "object"}
        value_type = arguments[1] if len(arguments) == 2 else Any
        inner = type_schema(value_type, definitions)
        return schema | {"additionalProperties": inner or True}
    if coercion._foreign(kind):
        return _foreign_schema(annotation, coercion._foreign(kind), definitions)
    if coercion._is_enum(kind):
        name = definitions.name(kind)
        schema = _enumeration(list(kind))
        if "const" in schema:
            schema = {"enum": [schema.pop("const")], **schema}
        definitions[name] = {**schema, "title": kind.__name__, **_description(kind)}
        return {"$ref": f"#/$defs/{name}"}
    if coercion._is_text_type(kind):
        text_format = _FORMATS.get(kind.__name__, "path" if kind.__module__.startswith("pathlib") else None)
        return {"type": "string"} | ({"format": text_format} if text_format else {})
    if coercion._is_record(kind):
        return _record(annotation, definitions)
    return {}


def _enumeration(values: list[Any]) -> dict[str, Any]:
    values = [_plain_choice(value) for value in values]
    kinds = {_PLAIN.get(type(value)) for value in values}
    schema: dict[str, Any] = {"const": values[0]} if len(values) == 1 else {"enum": values}
    if len(kinds) == 1 and (kind := kinds.pop()) is not None:
        schema["type"] = kind
    return schema


def _plain_choice(choice: Any) -> Any:
    """Give what stands for a choice in JSON: a member of an enumeration is known by its value or its name."""
    if not coercion._is_enum(type(choice)):
        return choice
    return choice.value if type(choice.value) in _PLAIN else choice.name


def _sequence(kind: Any, arguments: tuple[Any, ...], definitions: Definitions) -> dict[str, Any]:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [type_schema(inner, definitions) for inner in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    schema = {"type": "array", "items": type_schema(arguments[0], definitions) if arguments else {}}
    return schema | ({"uniqueItems": True} if kind in (set, frozenset) else {})


def _record(annotation: Any, definitions: Definitions) -> dict[str, Any]:
    kind = typing.get_origin(annotation) or annotation
    name = definitions.name(annotation)
    if name not in definitions:
        definitions[name] = {}  # a record that contains itself finds its name taken
        hints = coercion.field_types(annotation)
        defaults = _field_defaults(kind)
        properties = {
            field: _property(field, type_schema(hint, definitions), defaults.get(field, MISSING))
            for field, hint in hints.items()
        }
        schema: dict[str, Any] = {"properties": properties, "title": kind.__name__, "type": "object"}
        schema |= _description(kind)
        required = coercion._required_fields(kind, hints)
        if required:
            schema["required"] = required
        definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _field_defaults(kind: Any) -> dict[str, Any]:
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        return {
            field.name: field.default for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING
        }
    return dict(getattr(kind, "_field_defaults", {}))


def _description(kind: Any) -> dict[str, str]:
    """Give a type's docstring, unless it is the signature that dataclasses and named tuples have for one."""
    text = vars(kind).get("__doc__")
    if not isinstance(text, str) or text.startswith(f"{kind.__name__}("):
        return {}
    import inspect

    return {"description": inspect.cleandoc(text)}


def _foreign_schema(annotation: Any, library: str | None, definitions: Definitions) -> dict[str, Any]:
    """Ask pydantic or msgspec for its type's schema and lift the definitions inside it to ours."""
    if library == "pydantic":
        schema = sys.modules["pydantic"].TypeAdapter(annotation).json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        name = schema.get("title")
        if schema.get("type") != "object" or name is None:
            return dict(schema)
        definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}
    (schema,), components = sys.modules["msgspec"].json.schema_components([annotation], ref_template="#/$defs/{name}")
    definitions.update(components)
    return dict(schema)


def _plain_default(default: Any) -> Any:
    """Give a default as JSON, or as text where it has no such form: it is there for people."""
    if coercion._is_enum(type(default)):
        return _plain_choice(default)
    try:
        return json.loads(encode(default))
    except (TypeError, ValueError, RecursionError):
        return str(default)
