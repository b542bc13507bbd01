"""Where a task runs: each provider gives one fresh substrate a rollout, at a control-channel URL.

A provider is any callable `provider(task)` that returns an async context manager of `Runtime`: entering brings a
substrate up, leaving removes it, also on failure and cancellation. A provider that is itself an async context manager
is opened once for a whole job; that is where it keeps what rollouts share.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hud.eval.config import RuntimeConfig
    from hud.eval.task import Task

__all__ = ["Provider", "Runtime", "opened"]


@dataclass(frozen=True)
class Runtime:
    """The address of a served environment; it is its own provider, with no lifecycle: a borrowed address.

    Attributes:
        url: `tcp://host:port`.
        params: `token` is the channel's shared token.
        config: What the substrate was made with, where that is known.
    """

    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    config: RuntimeConfig | None = None

    @asynccontextmanager
    async def _borrowed(self, task: Task) -> AsyncIterator[Runtime]:
        if task.runtime_config is not None:
            task.runtime_config.refuse_unsupported(f"Runtime({self.url!r})", supported=())
        yield self

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Runtime]:
        return self._borrowed(task)


Provider = Callable[["Task"], AbstractAsyncContextManager[Runtime]]


@asynccontextmanager
async def opened(provider: Provider) -> AsyncIterator[Provider]:
    """Open a provider for a job, when it is one that can be opened."""
    async with AsyncExitStack() as stack:
        if isinstance(provider, AbstractAsyncContextManager):
            await stack.enter_async_context(provider)
        yield provider
