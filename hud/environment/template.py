"""A template: an async generator that yields a prompt, receives the answer and yields its evaluation."""

from __future__ import annotations

from hud.environment.signature import MISSING, Signature, is_async_generator_function
from hud.errors import EnvironmentLoadError
from hud.eval.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
    from typing import Any

    from hud.environment.environment import Environment

__all__ = ["BadArguments", "Template"]


class BadArguments(ValueError):
    """Arguments that a template does not accept; the text goes to the client."""


class Template:
    """What `@env.template` makes of a function: call it with arguments to get a task row.

    Attributes:
        id: Its name on the wire.
        description: One line for people, published by `tasks.list`.
        returns: The type of the answer, or None when the template takes it as it comes.
    """

    def __init__(
        self,
        environment: Environment,
        function: Callable[..., AsyncIterator[Any]],
        *,
        id: str | None,
        description: str,
        input: Any,
        returns: Any,
    ) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        if not is_async_generator_function(function):
            raise TypeError(f"template {name!r} must be an async generator: `async def` with a `yield` in it")
        self.environment = environment
        # Authors annotate either; that it is a generator was checked above.
        self.function: Callable[..., AsyncGenerator[Any, Any]] = function  # type: ignore[assignment]
        self.id = name if id is None else id
        self.description = description
        self.input = input
        self.returns = returns
        self.signature = Signature(function)
        self._checked: dict[str, Any] | None = None
        self.__name__ = name
        self.__doc__ = function.__doc__

    def __repr__(self) -> str:
        return f"<template {self.id!r} of environment {self.environment.name!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Task:
        """Make a row with these arguments.

        Raises:
            TypeError: they do not fit the function's signature.
        """
        arguments = self.signature.bind(args, kwargs)
        return Task(self.environment.name, self.id, arguments, environment=self.environment)

    def hints(self) -> dict[str, Any]:
        """Resolve the annotations of the parameters.

        Raises:
            EnvironmentLoadError: a name in them is unknown, or no JSON value can have the type.
        """
        if self._checked is None:
            import typing

            from hud.environment.coercion import unsupported

            try:
                hints = typing.get_type_hints(self.signature.function, include_extras=True)
                hints = {name: hint for name, hint in hints.items() if name in self.signature.parameters}
                parts = [(f"argument {name!r}", unsupported(hint)) for name, hint in hints.items()]
                if self.returns is not None and not isinstance(self.returns, dict):
                    parts.append(("the answer", unsupported(self.returns)))
            except (NameError, AttributeError, TypeError, SyntaxError) as error:
                raise EnvironmentLoadError(
                    f"an annotation of template {self.id!r} does not resolve: {error}"
                ) from error
            for what, part in parts:
                if part is not None:
                    raise EnvironmentLoadError(
                        f"{what} of template {self.id!r} has the type {part!r}, which JSON cannot carry",
                        hint="use plain types, a dataclass, a TypedDict, an Enum, or a pydantic or msgspec type",
                    )
            self._checked = hints
        return self._checked

    def open(self, arguments: Mapping[str, Any]) -> AsyncGenerator[Any, Any]:
        """Start the generator with checked arguments; no code of the template has run yet.

        Raises:
            BadArguments: with the text of the protocol's error (CC-22), naming the argument at fault.
        """
        hints = self._checked if self._checked is not None else self.hints()
        try:
            self.signature.check_names(arguments)
        except TypeError as error:
            raise BadArguments(f"task '{self.id}': bad args {sorted(arguments)}: {error}") from None
        if hints and arguments:
            arguments = self._coerced(arguments, hints)
        if not self.signature.positional_only:
            return self.function(**arguments)
        positional, named = self.signature.split(arguments)
        return self.function(*positional, **named)

    def _coerced(self, arguments: Mapping[str, Any], hints: dict[str, Any]) -> Mapping[str, Any]:
        for name, value in arguments.items():
            if name in hints and type(value) is not hints[name]:
                break
        else:
            return arguments
        from hud.environment.coercion import Mismatch, coerce

        coerced = {}
        for name, value in arguments.items():
            try:
                coerced[name] = coerce(value, hints[name]) if name in hints else value
            except (Mismatch, RecursionError) as error:
                reason = f"must be {error}" if isinstance(error, Mismatch) else "is nested too deeply"
                raise BadArguments(f"task '{self.id}': bad args {sorted(arguments)}: {name!r} {reason}") from None
        return coerced

    def receive(self, answer: Any) -> Any:
        """Give the answer as the template takes it: unchanged, or as `Answer` when it declared `returns`.

        A client that sent no answer at all (`MISSING`) sent None, or no text where the type is declared.
        """
        if self.returns is None:
            return None if answer is MISSING else answer
        if answer is MISSING:
            answer = ""
        from hud.environment.answer import Answer

        return Answer(self._content(answer), answer if isinstance(answer, str) else str(answer))

    def _content(self, answer: Any) -> Any:
        """Give the answer as the declared type: read as JSON text first, then as it is; itself when it is neither."""
        import json

        from hud.environment.coercion import Mismatch, coerce

        parsed = answer
        if isinstance(answer, str):
            try:
                parsed = json.loads(answer)
            except (ValueError, RecursionError):
                pass
        if isinstance(self.returns, dict):  # a schema, by which the author checks it
            return parsed
        for form in (parsed, answer):
            try:
                return coerce(form, self.returns)
            except (Mismatch, RecursionError):
                pass
        return answer

    def row(self) -> dict[str, Any]:
        """Give the template's entry in `tasks.list` (CC-18, CC-19)."""
        from hud.environment.schema import arguments_schema, declared_schema

        row: dict[str, Any] = {
            "id": self.id,
            "description": self.description,
            "args": arguments_schema(self.signature, self.hints()),
        }
        for key, declared in (("input", self.input), ("returns", self.returns)):
            if declared is not None:
                row[key] = declared_schema(declared)
        return row
