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

INFO = f"hud_cli-{__version__}.dist-info"


@pytest.fixture(scope="module")
def built() -> wheels.Wheel:
    return wheels.build()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, built: wheels.Wheel) -> Path:
    """An environment with Python and our wheel, as in an image; gives its `bin` folder."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / built.name).write_bytes(built.content)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(folder / built.name)]
    subprocess.run([str(folder / "venv" / "bin" / "python"), *install], check=True)
    return folder / "venv" / "bin"


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_is_named_for_the_version_and_any_platform(built: wheels.Wheel) -> None:
    assert built.name == f"hud_cli-{__version__}-py3-none-any.whl"


def test_two_builds_are_the_same_bytes(built: wheels.Wheel) -> None:
    assert wheels.build() == built


def test_it_holds_the_files_that_the_build_backend_packages(built: wheels.Wheel, wheel: Path) -> None:
    ours = {name: text for name, text in members(built.content).items() if ".dist-info/" not in name}
    theirs = {name: text for name, text in members(wheel.read_bytes()).items() if ".dist-info/" not in name}
    assert ours.keys() == theirs.keys()
    assert ours == theirs


def test_its_metadata_says_what_pyproject_says(built: wheels.Wheel, wheel: Path) -> None:
    def facts(content: bytes) -> set[str]:
        text = members(content)[f"{INFO}/METADATA"].decode()
        kinds = ("Name:", "Version:", "Summary:", "Requires-Python:", "Requires-Dist:", "Provides-Extra:")
        return {"".join(line.split()).replace("'", '"') for line in text.splitlines() if line.startswith(kinds)}

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
def test_what_is_installed_makes_the_same_wheel_again(bare: Path, built: wheels.Wheel, tmp_path: Path) -> None:
    script = "import sys; from hud_cli import wheel; sys.stdout.buffer.write(wheel.build().content)"
    again = subprocess.run([bare / "python", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    assert again.stdout == built.content


@pytest.mark.slow
def test_an_incomplete_installation_is_told(bare: Path, tmp_path: Path) -> None:
    script = (
        "import os, hud; from hud_cli import wheel\n"
        "path = os.path.join(os.path.dirname(hud.__file__), 'py.typed'); os.rename(path, path + '.gone')\n"
        "try:\n    wheel.build()\nexcept Exception as error:\n    print(error, '|', error.hint)\n"
        "finally:\n    os.rename(path + '.gone', path)\n"
    )
    done = subprocess.run([bare / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == (
        "the installation of hud-cli is incomplete: hud/py.typed is missing | pip install --force-reinstall hud-cli\n"
    )


@pytest.mark.slow
def test_what_it_adds_to_an_image_is_small(bare: Path, built: wheels.Wheel) -> None:
    """At most 2 MB, with the byte code that an installer writes and the wheel's own layer."""
    (site,) = (bare.parent / "lib").glob("python*/site-packages")
    files = [path for folder in site.glob("hud*") for path in folder.rglob("*") if path.is_file()]
    assert sum(os.path.getsize(path) for path in files) + len(built.content) <= 2_000_000
