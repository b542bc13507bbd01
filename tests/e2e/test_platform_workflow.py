"""The README's platform commands and the guide's CI script, as they are written, from an empty home folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from tests import bench

README = (bench.ROOT / "README.md").read_text()
GUIDE = (bench.ROOT / "docs" / "sync.md").read_text()


def commands(page: str, *, after: str) -> list[str]:
    """Give the lines of the first block of shell commands below a heading."""
    block = re.search(r"```sh\n(.*?)```", page.partition(f"\n## {after}\n")[2], re.DOTALL)
    assert block is not None
    return [line for line in block[1].splitlines() if line]


def scaffold() -> tuple[str, ...]:
    """Give the lines that make an environment, on a base image that need not be pulled, and go there."""
    base = f"sed -i 's|^ARG BASE_IMAGE=.*|ARG BASE_IMAGE={bench.base_image()}|' Dockerfile.hud"
    return "hud init my-env", "cd my-env", base


@dataclass
class Terminal:
    """A shell in which somebody types, and says yes to whatever is asked."""

    shell: pexpect.spawn

    def type(self, line: str) -> tuple[int, str]:
        """Give the exit code of a line, and what stood on the screen."""
        self.shell.sendline(f"{line}; echo '<'$?'>'")
        shown = ""
        while self.shell.expect([r"<(\d+)>\r\n", r"\[y/N\] "]):
            shown += self.shell.before
            self.shell.sendline("y")
        return int(self.shell.match[1]), shown + self.shell.before


@dataclass
class User:
    """A home folder in which nothing is, and an empty folder to work in."""

    home: Path
    folder: Path
    variables: dict[str, str]

    def script(self, lines: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a script where nobody can be asked, in the environment's folder."""
        return subprocess.run(
            ["sh", "-c", "\n".join(lines)],
            cwd=self.folder / "my-env",
            env={**self.variables, **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def settings(self) -> dict[str, str]:
        lines = (self.home / ".hud" / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line.startswith("HUD_"))


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A new user; what the platform of this user built is removed at the end."""
    client, folder = bench.require_docker(), tmp_path / "work"
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUD_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(client).parent), kept["PATH"]])
    config = kept.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    user = User(
        home=tmp_path,
        folder=folder,
        variables={
            **kept,
            "HOME": str(tmp_path),
            "PATH": path,
            "DOCKER_CONFIG": config,
            "TERM": "dumb",
            "HUD_PLATFORM_PORT": "0",  # 8800 may be in use on a machine that runs tests
        },
    )
    yield user
    subprocess.run([Path(sys.executable).with_name("hud"), "platform", "down"], env=user.variables, capture_output=True)
    builds = tmp_path / ".hud" / "platform" / "builds"
    images = [f"hud/my-env:{build.name}" for build in builds.iterdir()] if builds.is_dir() else []
    subprocess.run([client, "image", "rm", "--force", *images], capture_output=True)


@pytest.fixture
def terminal(user: User) -> Iterator[Terminal]:
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], env=user.variables, cwd=str(user.folder), encoding="utf-8", timeout=120,
        dimensions=(60, 400), echo=False,
    )  # fmt: skip
    shell.sendline("PS1=; PS2=; bind 'set enable-bracketed-paste off'; echo rea''dy")
    shell.expect("ready\r\n")
    yield Terminal(shell)
    shell.close(force=True)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_workflow_of_the_readme_works_as_written(user: User, terminal: Terminal) -> None:
    first, *workflow = commands(README, after="A platform of your own")
    assert first == "pip install 'hud-cli[platform]'"  # which is what the tests run in
    up, *rest = (line.split("#")[0].strip() for line in workflow)

    for line in (up, *scaffold()):
        assert terminal.type(line)[0] == 0, line
    shown = ""
    for line in rest:
        code, shown = terminal.type(line)
        assert code == 0, shown

    assert "my-taskset is up to date" in shown
    assert user.script(["echo \"tasks[0].slug = 'mine'\" >> tasks.py"]).returncode == 0
    code, shown = terminal.type(rest[-1])
    assert (code, "my-taskset is out of date" in shown) == (1, True)

    assert terminal.type("hud deploy")[0] == 0
    for line, wanted in (
        ("hud env list", "my-env  version 2  sha256:"),
        ("hud env rollback my-env", "my-env runs the image of version 1 again, as version 3."),
        ("hud sync history", "*  1 "),
        ("hud platform down", "Stopped the platform"),
    ):
        assert f"`{line}`" in README
        code, shown = terminal.type(line)
        assert (code, wanted in shown) == (0, True), shown


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_ci_script_of_the_guide_works_as_written(user: User, terminal: Terminal) -> None:
    for line in ("hud platform up --detach", "hud platform key create ci >key", *scaffold()):
        assert terminal.type(line)[0] == 0, line
    access = {"HUD_API_URL": user.settings()["HUD_API_URL"], "HUD_API_KEY": (user.folder / "key").read_text().strip()}
    (user.home / ".hud" / ".env").unlink()
    script = commands(GUIDE, after="In CI")

    for _ in range(2):  # a second run finds nothing to do
        done = user.script(script, **access)
        assert done.returncode == 0, done.stderr
        assert "Taskset my-taskset is up to date." in done.stderr
    assert user.script(script, HUD_API_URL=access["HUD_API_URL"]).returncode == 4
    terminal.type("hud platform down")
    assert user.script(script, **access, HUD_RETRY_LIMIT_S="0").returncode == 3
