"""What a template's function accepts, read from its code object.

`inspect.signature` would do the same, but importing `inspect` costs more than everything else `hud task list` does.
"""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["MISSING", "Parameter", "Signature"]

_VARARGS, _VARKEYWORDS, _ASYNC_GENERATOR = 0x04, 0x08, 0x200


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""Stands where a parameter has no default."""


class Parameter:
    """One named parameter: `default` is `MISSING` when it is required."""

    __slots__ = ("default", "name", "positional_only")

    def __init__(self, name: str, default: object, positional_only: bool) -> None:
        self.name = name
        self.default = default
        self.positional_only = positional_only


class Signature:
    """The named parameters of a function, and whether it takes further keyword arguments.

    Attributes:
        parameters: By name, in order of declaration. `*args` is not among them: tasks bind by keyword.
        open: True when the function has `**kwargs`.
        required: The names without a default.
        positional: The names that may be given by position, in order.
        positional_only: True when some may only be given so.
        function: The innermost function; its annotations belong to the parameters.
    """

    __slots__ = ("function", "open", "parameters", "positional", "positional_only", "required")

    def __init__(self, function: Callable[..., Any]) -> None:
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        skip = 0
        if hasattr(function, "__func__"):
            function, skip = function.__func__, 1
        if not isinstance(function, FunctionType):
            raise TypeError(f"expected a function, got {type(function).__name__}")
        code = function.__code__
        names = code.co_varnames
        defaults = function.__defaults__ or ()
        first_default = code.co_argcount - len(defaults)
        self.function = function
        self.open = bool(code.co_flags & _VARKEYWORDS)
        self.parameters: dict[str, Parameter] = {}
        for index in range(skip, code.co_argcount):
            default = defaults[index - first_default] if index >= first_default else MISSING
            self.parameters[names[index]] = Parameter(names[index], default, index < code.co_posonlyargcount)
        self.positional = tuple(self.parameters)
        keyword_defaults = function.__kwdefaults__ or {}
        for name in names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
            self.parameters[name] = Parameter(name, keyword_defaults.get(name, MISSING), False)
        self.positional_only = any(parameter.positional_only for parameter in self.parameters.values())
        self.required = [name for name, parameter in self.parameters.items() if parameter.default is MISSING]

    def bind(self, positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        """Name the arguments of one call, in the order of the parameters; defaults stay with the function.

        Raises:
            TypeError: an argument is missing, unknown, given twice, or one too many.
        """
        if len(positional) > len(self.positional):
            raise TypeError("too many positional arguments")
        bound = dict(zip(self.positional, positional, strict=False))
        for name, value in named.items():
            if name in bound:
                raise TypeError(f"multiple values for argument {name!r}")
            bound[name] = value
        self.check_names(bound)
        if len(bound) > 1:
            return {name: bound.pop(name) for name in self.parameters if name in bound} | bound
        return bound

    def check_names(self, arguments: Mapping[str, Any]) -> None:
        """Refuse a missing or an unknown argument, before any code of the template runs (CC-22).

        Raises:
            TypeError: in the words that clients of the protocol know.
        """
        for name in self.required:
            if name not in arguments:
                raise TypeError(f"missing a required argument: {name!r}")
        if not self.open:
            for name in arguments:
                if name not in self.parameters:
                    raise TypeError(f"got an unexpected keyword argument {name!r}")

    def split(self, arguments: Mapping[str, Any]) -> tuple[list[Any], Mapping[str, Any]]:
        """Give positional-only parameters their positions; everything else goes by keyword."""
        named = dict(arguments)
        positional = []
        for name, parameter in self.parameters.items():
            if not parameter.positional_only:
                break
            if name in named:
                positional.append(named.pop(name))
            elif parameter.default is not MISSING:
                positional.append(parameter.default)
        return positional, named


def is_async_generator_function(function: Callable[..., Any]) -> bool:
    """Tell whether calling it gives an async generator (wrappers made with `functools.wraps` are looked through)."""
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _ASYNC_GENERATOR:
        return True
    inner = getattr(function, "__wrapped__", None)
    return inner is not None and is_async_generator_function(inner)
