"""JSON Schemas of template arguments, in the shape of `tasks.list` (protocol specification, section 4.2)."""

from __future__ import annotations

import sys
import typing
from typing import Any

from hud.environment import coercion
from hud.environment.signature import MISSING, Signature
from hud.wire import jsonable

__all__ = ["arguments_schema", "type_schema"]

_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}
_FORMATS = {"datetime": "date-time", "date": "date", "time": "time", "UUID": "uuid", "Decimal": "decimal"}


def arguments_schema(signature: Signature, hints: dict[str, Any]) -> dict[str, Any]:
    """Describe the arguments a template takes: one property a named parameter, private names left out.

    Args:
        hints: The resolved annotations by parameter name.
    """
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in signature.parameters.items():
        if name.startswith("_"):
            continue
        schema = type_schema(hints[name], definitions) if name in hints else {}
        if parameter.default is not MISSING:
            schema = {"default": _plain_default(parameter.default), **schema}
        else:
            required.append(name)
        if "$ref" not in schema:
            schema.setdefault("title", name.replace("_", " ").title())
        properties[name] = schema
    result: dict[str, Any] = {"properties": properties}
    if required:
        result["required"] = required
    result["type"] = "object"
    result["additionalProperties"] = signature.open
    if definitions:
        result["$defs"] = definitions
    return result


def type_schema(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe one annotation; named records go into `definitions` and are referred to by `$ref`."""
    annotation, metadata = coercion._unwrap(annotation)
    schema = _bare_schema(annotation, definitions)
    for note in metadata:
        hint = getattr(note, "hud_hint", None)
        if hint is not None:
            schema = {**schema, "x-hud-hint": hint}
    return schema


def _bare_schema(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
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
        definitions[kind.__name__] = {**_enumeration([member.value for member in kind]), "title": kind.__name__}
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if coercion._is_text_type(kind):
        text_format = _FORMATS.get(kind.__name__, "path" if kind.__module__.startswith("pathlib") else None)
        return {"type": "string"} | ({"format": text_format} if text_format else {})
    if coercion._is_record(kind):
        return _record(kind, definitions)
    return {}


def _enumeration(values: list[Any]) -> dict[str, Any]:
    kinds = {_PLAIN.get(type(value)) for value in values}
    schema: dict[str, Any] = {"const": values[0]} if len(values) == 1 else {"enum": values}
    if len(kinds) == 1 and (kind := kinds.pop()) is not None:
        schema["type"] = kind
    return schema


def _sequence(kind: Any, arguments: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [type_schema(inner, definitions) for inner in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    schema = {"type": "array", "items": type_schema(arguments[0], definitions) if arguments else {}}
    return schema | ({"uniqueItems": True} if kind in (set, frozenset) else {})


def _record(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{kind.__name__}"}
    if kind.__name__ in definitions:
        return reference
    definitions[kind.__name__] = {}  # a record that contains itself finds its name taken
    hints = typing.get_type_hints(kind, include_extras=True)
    properties = {}
    for name, hint in hints.items():
        properties[name] = type_schema(hint, definitions)
        if "$ref" not in properties[name]:
            properties[name]["title"] = name.replace("_", " ").title()
    schema: dict[str, Any] = {"properties": properties, "title": kind.__name__, "type": "object"}
    required = coercion._required_fields(kind, hints)
    if required:
        schema["required"] = required
    definitions[kind.__name__] = schema
    return reference


def _foreign_schema(annotation: Any, library: str | None, definitions: dict[str, Any]) -> dict[str, Any]:
    """Ask pydantic or msgspec for its type's schema and lift the definitions inside it to ours."""
    if library == "pydantic":
        schema = sys.modules["pydantic"].TypeAdapter(annotation).json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        name = schema.get("title")
        if schema.get("type") != "object" or name is None:
            return dict(schema)
        definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}
    (schema,), components = sys.modules["msgspec"].json.schema_components([annotation], "#/$defs/{name}")
    definitions.update(components)
    return dict(schema)


def _plain_default(default: Any) -> Any:
    if coercion._is_enum(type(default)):
        return default.value
    if default is None or isinstance(default, str | int | float | bool | list | dict | tuple):
        return default
    try:
        return jsonable(default)
    except TypeError:
        return str(default)
