"""The wheel that `hud init` puts into a folder: the same as the project's, made of what is installed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hud.version import __version__
from hud_cli import wheel as wheels
from hud_cli.commands import SERVED

INFO = f"hud_cli-{__version__}.dist-info"


@pytest.fixture(scope="module")
def built() -> wheels.Wheel:
    return wheels.build()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, built: wheels.Wheel) -> Path:
    """An environment with Python and our wheel, as in an image; gives its `bin` folder."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / built.name).write_bytes(built.content)
    return installed(folder / built.name, folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """An environment with Python and the whole project, as the build backend packages it; gives its `bin` folder."""
    return installed(wheel, tmp_path_factory.mktemp("whole"))


def installed(wheel: Path, folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([str(folder / "venv" / "bin" / "python"), *install], check=True)
    return folder / "venv" / "bin"


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_is_named_for_the_version_and_any_platform(built: wheels.Wheel) -> None:
    assert built.name == f"hud_cli-{__version__}-py3-none-any.whl"


def test_two_builds_are_the_same_bytes(built: wheels.Wheel) -> None:
    assert wheels.build() == built


def test_it_holds_the_sdk_and_the_served_commands_as_the_build_backend_packages_them(
    built: wheels.Wheel, wheel: Path
) -> None:
    ours = {name: text for name, text in members(built.content).items() if ".dist-info/" not in name}
    theirs = members(wheel.read_bytes())
    assert ours == {name: theirs[name] for name in ours}
    left = {"/".join(name.split("/")[:2]) for name in theirs.keys() - ours}
    assert {"hud/context", "hud/platform", "hud/sync", "hud_cli/deploy.py", "hud_cli/templates"} <= left
    assert not any(name.startswith(("hud/environment", "hud/client", "hud/eval", "hud/graders")) for name in left)
    assert not any(name.startswith("hud_platform/") for name in ours)


def test_its_metadata_says_what_pyproject_says_but_for_the_extras(built: wheels.Wheel, wheel: Path) -> None:
    def facts(content: bytes) -> set[str]:
        text = members(content)[f"{INFO}/METADATA"].decode()
        kinds = ("Name:", "Version:", "Summary:", "Requires-Python:", "Requires-Dist:")
        lines = (line for line in text.splitlines() if line.startswith(kinds) and "extra ==" not in line)
        return {"".join(line.split()) for line in lines}

    def in_order(facts: set[str]) -> set[str]:  # the backend sorts the bounds of a requirement
        return {"".join(sorted(fact)) for fact in facts}

    assert in_order(facts(built.content)) == in_order(facts(wheel.read_bytes()))
    assert members(built.content)[f"{INFO}/entry_points.txt"] == b"[console_scripts]\nhud = hud_cli.main:main\n"


@pytest.mark.slow
def test_it_installs_alone_and_serves(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "env.py").write_text(
        "from hud import Environment\nenv = Environment('e')\n"
        "@env.template()\nasync def t():\n    yield 'p'\n    yield 1.0\n"
    )
    run = subprocess.run([bare / "hud", "task", "run", "t"], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "1.0\n")
    check = subprocess.run([bare / "python", "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True)
    assert f"hud-cli=={__version__}" in check.stdout


@pytest.mark.slow
def test_what_is_installed_makes_a_wheel_of_the_same_files(whole: Path, built: wheels.Wheel, tmp_path: Path) -> None:
    script = "import sys; from hud_cli import wheel; sys.stdout.buffer.write(wheel.build().content)"
    again = subprocess.run([whole / "python", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    files = [
        {name: text for name, text in members(content).items() if ".dist-info/" not in name}
        for content in (again.stdout, built.content)
    ]
    assert files[0] == files[1]


@pytest.mark.slow
def test_every_served_command_is_in_it(bare: Path, tmp_path: Path) -> None:
    script = "from hud_cli.commands import SERVED, resolve; print(sum(callable(resolve(one)) for one in SERVED))"
    done = subprocess.run([bare / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{len(SERVED)}\n", done.stderr


@pytest.mark.slow
def test_an_incomplete_installation_is_told(whole: Path, tmp_path: Path) -> None:
    script = (
        "import os, hud; from hud_cli import wheel\n"
        "path = os.path.join(os.path.dirname(hud.__file__), 'py.typed'); os.rename(path, path + '.gone')\n"
        "try:\n    wheel.build()\nexcept Exception as error:\n    print(error, '|', error.hint)\n"
        "finally:\n    os.rename(path + '.gone', path)\n"
    )
    done = subprocess.run([whole / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == (
        "the installation of hud-cli is incomplete: hud/py.typed is missing | pip install --force-reinstall hud-cli\n"
    )


@pytest.mark.slow
def test_what_it_adds_to_an_image_is_small(bare: Path, built: wheels.Wheel) -> None:
    """At most 2 MB, with the byte code that an installer writes and the wheel's own layer."""
    (site,) = (bare.parent / "lib").glob("python*/site-packages")
    files = [path for folder in site.glob("hud*") for path in folder.rglob("*") if path.is_file()]
    assert sum(os.path.getsize(path) for path in files) + len(built.content) <= 2_000_000
