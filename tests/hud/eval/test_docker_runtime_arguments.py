"""What DockerRuntime refuses before it asks any engine, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hud import DockerRuntime, RuntimeConfig
from hud.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run_args": "--gpus all"}, "run_args is the text '--gpus all'"),
        ({"run_args": ["--name", "mine"]}, "names each of its containers itself"),
        ({"run_args": ["--name=mine"]}, "names each of its containers itself"),
        ({"port": 0}, "port is 0"),
        ({"runtime_config": RuntimeConfig(image="other")}, "two images, 'my-env' and 'other'"),
    ],
    ids=["run_args as text", "--name", "--name=", "port", "two images"],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DockerRuntime("my-env", **arguments)


def test_the_docker_package_is_not_loaded_by_importing_the_runtime() -> None:
    code = "import sys, hud.eval.runtimes.docker, hud.eval.runtimes.ownership; print('docker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
