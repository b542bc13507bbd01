"""Declaring an environment: templates, hooks and their life."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from hud.capabilities import Capability
from hud.environment import Environment
from hud.errors import EnvironmentLoadError
from tests.hud.environment.channel import Channel
from tests.hud.environment.probe import Steps


async def template(a: int = 1) -> Steps:
    yield a


def test_an_environment_has_a_name_and_a_version() -> None:
    assert (Environment().name, Environment().version) == ("environment", "0.0.1")
    assert repr(Environment("e", version="2")) == "Environment('e', version='2')"


def test_templates_are_kept_in_order_by_id() -> None:
    environment = Environment("e")
    environment.template()(template)
    environment.template(id="other", description="d")(template)
    assert list(environment.templates) == ["template", "other"]
    assert environment.tasks == environment.templates
    assert environment.templates["other"].description == "d"
    assert repr(environment.templates["other"]) == "<template 'other' of environment 'e'>"


def test_an_id_is_taken_once() -> None:
    environment = Environment("e")
    environment.template()(template)
    with pytest.raises(ValueError, match="environment 'e' has a template 'template' already"):
        environment.template()(template)


def no_coroutine() -> None: ...


async def with_parameter(_a: int) -> None: ...


async def generator() -> Any:
    yield 1


@pytest.mark.parametrize("kind", ["initialize", "shutdown"])
@pytest.mark.parametrize("hook", [no_coroutine, with_parameter, generator], ids=["def", "parameter", "generator"])
def test_a_hook_is_an_async_function_without_parameters(kind: str, hook: Any) -> None:
    with pytest.raises(TypeError, match=f"{kind} hook .* must be an `async def` without parameters"):
        getattr(Environment("e"), kind)(hook)


async def test_hooks_run_once_in_order_and_in_reverse() -> None:
    environment = Environment("e")
    journal: list[str] = []

    def hook(entry: str) -> Callable[[], Any]:
        async def write() -> None:
            journal.append(entry)

        return write

    for name in ("a", "b"):
        environment.initialize(hook(f"up {name}"))
        environment.shutdown(hook(f"down {name}"))
    await environment.start()
    await environment.start()
    await environment.stop()
    await environment.stop()
    assert journal == ["up a", "up b", "down b", "down a"]
    await environment.start()
    assert journal[4:] == ["up a", "up b"]


async def test_a_hook_stays_callable_by_its_own_name() -> None:
    environment = Environment("e")

    @environment.initialize
    async def up() -> str:
        return "up"

    assert await up() == "up"


@pytest.mark.parametrize(
    "error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr
)
async def test_a_hook_that_fails_is_followed_by_the_shutdown_hooks(error: BaseException) -> None:
    environment = Environment("e")
    journal: list[str] = []

    @environment.initialize
    async def up() -> None:
        raise error

    @environment.shutdown
    async def down() -> None:
        journal.append("down")

    with pytest.raises(EnvironmentLoadError, match=f"an initialize hook failed: {type(error).__name__}"):
        await environment.start()
    assert journal == ["down"]


async def test_a_cancelled_start_is_followed_by_the_shutdown_hooks() -> None:
    environment = Environment("e")
    journal: list[str] = []

    @environment.initialize
    async def up() -> None:
        await asyncio.sleep(60)

    @environment.shutdown
    async def down() -> None:
        journal.append("down")

    starting = asyncio.create_task(environment.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert journal == ["down"]


async def test_a_capability_may_be_published_by_a_hook_and_later_ones_are_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environment = Environment("e")

    @environment.initialize
    async def up() -> None:
        environment.add_capability(Capability.cdp(url="h"))

    await environment.start()
    assert caplog.text == ""
    environment.add_capability(Capability.rfb(url="h"))
    assert "capability 'screen' was added after start: connected clients do not see it" in caplog.text


def test_a_prompt_may_be_a_list_of_messages_with_content_blocks(serve: Callable[..., Channel]) -> None:
    environment = Environment("turns")
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": {"type": "text", "text": "yo"}},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]

    @environment.template()
    async def chat() -> Steps:
        yield turns
        yield 1.0

    assert serve(environment).connect().start("chat") == turns


def test_the_served_side_needs_the_standard_library_alone() -> None:
    """An image gets one wheel installed without its dependencies."""
    code = (
        "import sys\n"
        "import hud.environment.server, hud.environment.schema, hud.environment.coercion, hud.environment.source\n"
        "import hud.environment.hints, hud.client.client, hud.client.blocking, hud.graders, hud.capabilities\n"
        "third = {m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'hud'}\n"
        "print(sorted(name for name in third if not name.startswith(('_', 'sitecustomize', 'usercustomize'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
