"""What an author declares: templates, hooks and capabilities under one name."""

from __future__ import annotations

from hud.capabilities import Capability
from hud.environment.template import Template
from hud.errors import EnvironmentLoadError, HudError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from typing import Any

    Hook = Callable[[], Awaitable[object]]

__all__ = ["Environment"]


class Environment:
    """The tasks of one image and what an agent finds there.

    Attributes:
        name: How tasks and platforms refer to it.
        version: The author's version, published in `hello`.
        revision: Counts changes of templates and capabilities, so that a server knows when its replies are stale.
    """

    def __init__(
        self, name: str = "environment", *, version: str = "0.0.1", capabilities: Iterable[Capability] | None = None
    ) -> None:
        self.name = name
        self.version = version
        self.revision = 0
        self._templates: dict[str, Template] = {}
        self._capabilities: dict[str, Capability] = {}
        self._initialize_hooks: list[Hook] = []
        self._shutdown_hooks: list[Hook] = []
        self._started = False
        self._initialized = False
        for capability in capabilities or ():
            self.add_capability(capability)

    def __repr__(self) -> str:
        return f"Environment({self.name!r}, version={self.version!r})"

    def template(
        self, *, id: str | None = None, description: str = "", input: Any = None, returns: Any = None
    ) -> Callable[[Callable[..., AsyncIterator[Any]]], Template]:
        """Declare a template from an async generator function.

        The function yields the prompt (text, a list of messages, or a mapping with `prompt`), receives the answer,
        and yields the evaluation (a number, a mapping with a numeric `score`, an object with a numeric `reward`,
        or an `EvaluationResult`). Its `finally` blocks run when the task is graded, cancelled or replaced.

        Args:
            id: Its name; the function's when not given.
            description: One line for people.
            input: A type or JSON Schema of what the agent is given, for listing only.
            returns: The type of the answer: the template then receives an `Answer` with `content` and `raw`.

        Raises:
            TypeError: the function is not an async generator.
            ValueError: the id is taken.
        """

        def declare(function: Callable[..., AsyncIterator[Any]]) -> Template:
            template = Template(self, function, id=id, description=description, input=input, returns=returns)
            if template.id in self._templates:
                raise ValueError(f"environment {self.name!r} has a template {template.id!r} already")
            self._templates[template.id] = template
            self.revision += 1
            return template

        return declare

    def initialize(self, hook: Hook) -> Hook:
        """Declare a hook to be awaited once, before the port is announced; hooks run in order of declaration."""
        self._initialize_hooks.append(_checked_hook(hook, "initialize"))
        return hook

    def shutdown(self, hook: Hook) -> Hook:
        """Declare a hook to be awaited when serving ends; hooks run in reverse order, each even if another failed."""
        self._shutdown_hooks.append(_checked_hook(hook, "shutdown"))
        return hook

    def add_capability(self, capability: Capability) -> None:
        """Publish a capability; one of the same name is replaced.

        After the initialize hooks it is seen from the next `hello` on, not by clients that are already connected.
        """
        if not capability.url:
            raise ValueError(f"capability {capability.name!r} has no address")
        if self._initialized:
            _log().warning("capability %r was added after start: connected clients do not see it", capability.name)
        self._capabilities.pop(capability.name, None)
        self._capabilities[capability.name] = capability
        self.revision += 1

    def capability(self, name: str) -> Capability:
        """Give the capability of that name.

        Raises:
            KeyError: there is none.
        """
        return self._capabilities[name]

    @property
    def capabilities(self) -> list[Capability]:
        """The published capabilities, in order of publication."""
        return list(self._capabilities.values())

    @property
    def templates(self) -> dict[str, Template]:
        """The templates by id, in order of declaration."""
        return self._templates

    @property
    def tasks(self) -> dict[str, Template]:
        """The same as `templates`: what the wire calls tasks."""
        return self._templates

    @property
    def has_hooks(self) -> bool:
        """Whether something runs before the first task or after the last."""
        return bool(self._initialize_hooks or self._shutdown_hooks)

    def check(self) -> None:
        """Resolve every template's annotations, so that a mistake shows before the port is announced.

        Raises:
            EnvironmentLoadError: naming the template and the argument.
        """
        for template in self._templates.values():
            template.hints()

    async def start(self) -> None:
        """Check the templates and run the initialize hooks; does nothing when already started.

        When a hook fails, the shutdown hooks run before that is told: daemons that earlier hooks started are not
        left behind.

        Raises:
            EnvironmentLoadError: a hook raised something, or an annotation is unusable; the message has the place.
        """
        if self._started:
            return
        self.check()
        self._started = True
        try:
            for hook in self._initialize_hooks:
                await hook()
        except BaseException as error:
            await self.stop()
            if isinstance(error, HudError) or _is_cancellation(error):
                raise
            raise _hook_error(error) from error
        self._initialized = True

    async def stop(self) -> None:
        """Run the shutdown hooks; does nothing when not started. A hook that fails is logged, the others still run."""
        if not self._started:
            return
        self._started = self._initialized = False
        for hook in reversed(self._shutdown_hooks):
            try:
                await hook()
            except BaseException as error:  # teardown: the hooks after it run all the same
                if _is_cancellation(error):
                    raise
                _log().exception("shutdown hook %r of environment %r failed", _name(hook), self.name)

    def find(self, task_id: str) -> Template:
        """Give the template of that id.

        Raises:
            NotFoundError: there is none; the hint names close ones.
        """
        template = self._templates.get(task_id)
        if template is None:
            from difflib import get_close_matches

            close = get_close_matches(task_id, self._templates, n=3)
            hint = f"did you mean {', '.join(close)}?" if close else f"tasks: {', '.join(self._templates) or 'none'}"
            raise NotFoundError(f"unknown task: {task_id!r}", hint=hint)
        return template


def _checked_hook(hook: Hook, kind: str) -> Hook:
    code = getattr(hook, "__code__", None)
    if code is not None and (
        not code.co_flags & 0x80 or code.co_argcount - len(getattr(hook, "__defaults__", None) or ())
    ):
        if not hasattr(hook, "__self__"):
            raise TypeError(f"{kind} hook {_name(hook)!r} must be an `async def` without parameters")
    return hook


def _is_cancellation(error: BaseException) -> bool:
    """Tell a cancellation of the running task from one that an author's hook raised on its own."""
    import asyncio

    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _hook_error(error: BaseException) -> EnvironmentLoadError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    text = f": {error}" if str(error) else ""
    return EnvironmentLoadError(f"an initialize hook failed: {type(error).__name__}{text}{place}")


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", repr(hook))


def _log() -> Any:
    import logging

    return logging.getLogger("hud.environment")
