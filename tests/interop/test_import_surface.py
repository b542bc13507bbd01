"""The names that users of the public SDK import (command-line and SDK specification, section 1).

What is not here yet belongs to a later piece of work and stands under LATER; whoever adds a name takes it from there.
"""

from __future__ import annotations

import importlib

import pytest

from tests.interop.parties import Party

HERE = {
    "hud": """
        Environment Task Taskset Job Run Grade Trace LocalRuntime SubprocessRuntime DockerRuntime Runtime RuntimeConfig
        RuntimeResources RuntimeLimits RuntimeGPU RuntimeTPU ComposeProject SyncPlan connect
        __version__
    """,
    "hud.eval": """
        Task Taskset Job Run Grade Trace LocalRuntime SubprocessRuntime DockerRuntime Runtime RuntimeConfig
        RuntimeResources RuntimeLimits RuntimeGPU RuntimeTPU ComposeProject rollout Provider
        Shared SyncPlan
    """,
    "hud.environment": """
        Environment Answer Capability load_environment PromptArg DataFileArg DataFilesArg DataFileRef GradingArg
    """,
    "hud.capabilities": "Capability",
    "hud.graders": "EvaluationResult SubScore",
}

LATER = {
    "hud": "Chat HUDRuntime HostedRuntime TrainingClient instrument Connection",
    "hud.eval": "Chat HUDRuntime HostedRuntime ModalRuntime DaytonaRuntime",
    "hud.environment": "Workspace Mount MountKind Peer DEFAULT_SYSTEM_MOUNTS WorkspaceRoute",
    "hud.capabilities": "CDPClient CapabilityClient Connection MCPClient RFBClient RobotClient SSHClient",
    "hud.graders": """
        BashGrader Grader LLMJudgeGrader combine combine_all combine_any contains contains_all contains_any exact_match
        f1_score normalize numeric_match
    """,
}

LATER_MODULES = ["hud.agents", "hud.agents.types", "hud.types", "hud.integrations.harbor"]

_PUBLIC_NAMES = (
    "import importlib, json, sys;"
    "print(json.dumps({name: importlib.import_module(name).__all__ for name in sys.argv[1:]}))"
)


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in HERE for name in HERE[module].split()])
def test_a_name_is_imported_from_where_users_import_it(module: str, name: str) -> None:
    loaded = importlib.import_module(module)
    assert getattr(loaded, name) is not None
    assert name in loaded.__all__


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in LATER for name in LATER[module].split()])
def test_a_name_for_later_is_not_here_yet(module: str, name: str) -> None:
    """Not even as something empty that would only fail when used."""
    assert not hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", LATER_MODULES)
def test_a_module_for_later_is_not_here_yet(module: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


@pytest.mark.peer
def test_the_tables_leave_out_no_name_of_the_public_sdk(theirs: Party) -> None:
    known = {module: {*HERE[module].split(), *LATER[module].split()} for module in HERE}
    public = theirs.evaluate(_PUBLIC_NAMES, *HERE)
    for module, names in public.items():
        assert {name for name in names if not name.startswith("_") or name == "__version__"} <= known[module]
