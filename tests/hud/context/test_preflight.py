"""What is said against a folder before anything is uploaded (CLI specification, section 4.6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hud.context import Problem, Recipe, preflight
from tests.hud.context.folders import Files

RECIPE = Recipe(dockerfile="Dockerfile")
Project = Callable[[Files], Path]
SERVES = 'CMD ["hud", "serve", "env.py"]\n'
LICENSED = '[project]\nname = "x"\nlicense = { file = "LICENSE" }\nreadme = "README.md"\n'


@pytest.fixture
def said(project: Project) -> Callable[[Files], list[str]]:
    """Write a folder and give what is said against it."""

    def problems(files: Files) -> list[str]:
        found: list[Problem] = preflight(project(files), RECIPE)
        return [f"{problem.level}: {problem.message}" for problem in found]

    return problems


Said = Callable[[Files], list[str]]


def test_a_folder_that_builds_has_no_problems(said: Said) -> None:
    files = {"Dockerfile": f"ARG BASE\nFROM $BASE\nCOPY . .\nRUN pip install .\n{SERVES}", "pyproject.toml": LICENSED}
    assert said({**files, "LICENSE": "", "README.md": ""}) == []


@pytest.mark.parametrize("template", ["blank", "browser", "coding", "gpu"])
def test_every_scaffold_passes(scaffold: Callable[[str], Path], template: str) -> None:
    assert preflight(scaffold(template), Recipe(dockerfile="Dockerfile.hud")) == []


@pytest.mark.parametrize(
    ("dockerfile", "problem"),
    [
        ("", "error: Dockerfile is empty"),
        ("# only a comment\n", "error: Dockerfile is empty"),
        (f"RUN true\n{SERVES}", "error: Dockerfile has no FROM"),
        (f"RUN true\nFROM x\n{SERVES}", "error: Dockerfile:1 has RUN before FROM"),
        (
            "FROM x\nCMD python app.py\n",
            "warning: the command of Dockerfile runs no hud serve, so the image may answer nobody",
        ),
    ],
)
def test_a_dockerfile_that_cannot_work_is_said(said: Said, dockerfile: str, problem: str) -> None:
    assert said({"Dockerfile": dockerfile}) == [problem]


@pytest.mark.parametrize(
    ("copy", "problem"),
    [
        ("COPY data/big.bin /x/", "warning: Dockerfile:2 copies data/big.bin, which is left out by .dockerignore"),
        ("COPY ./data /x/", "warning: Dockerfile:2 copies data, which is left out by .dockerignore"),
        ("COPY --chown=a:b a.txt none.txt /x/", "warning: Dockerfile:2 copies none.txt, which is not there"),
        ('ADD ["none.txt", "/x/"]', "warning: Dockerfile:2 copies none.txt, which is not there"),
        (
            "COPY .env /x/",
            "warning: Dockerfile:2 copies .env, which never leaves this machine, because it may hold credentials",
        ),
        ("COPY venv /x/", "warning: Dockerfile:2 copies venv, which is left out by .dockerignore"),
    ],
)
def test_what_copy_will_not_find_is_said(said: Said, copy: str, problem: str) -> None:
    files = {".dockerignore": "data\n", "data/big.bin": "", ".env": "", "a.txt": "", "venv/x": ""}
    assert said({**files, "Dockerfile": f"FROM x\n{copy}\n{SERVES}"}) == [problem]


@pytest.mark.parametrize(
    "copy",
    [
        "COPY --from=build /a /b",
        "COPY *.whl none*/ /x/",
        "COPY ${FILE} /x/",
        "ADD https://example.org/x.tar /x/",
        "COPY <<EOF /x\nhello\nEOF",
        "COPY kept /x/",
        "COPY . /",
    ],
)
def test_what_copy_may_find_is_not_said(said: Said, copy: str) -> None:
    files = {".dockerignore": "kept\n!kept/this\n", "kept/this": "", "Dockerfile": f"FROM x\n{copy}\n{SERVES}"}
    assert said(files) == []


def test_a_pyproject_that_cannot_be_read_is_an_error(said: Said) -> None:
    (problem,) = said({"Dockerfile": f"FROM x\n{SERVES}", "pyproject.toml": "[project\n"})
    assert problem.startswith("error: pyproject.toml cannot be read: ")


def test_a_missing_license_is_an_error_and_a_missing_readme_a_warning(said: Said) -> None:
    assert said({"Dockerfile": f"FROM x\nCOPY . .\n{SERVES}", "pyproject.toml": LICENSED}) == [
        "error: the license file LICENSE that pyproject.toml names is not there",
        "warning: the readme README.md that pyproject.toml names is not there",
    ]


def test_a_license_that_the_build_does_not_see_is_missing_too(said: Said) -> None:
    files = {"Dockerfile": f"FROM x\nCOPY . .\n{SERVES}", "pyproject.toml": LICENSED, "LICENSE": "", "README.md": ""}
    assert said({**files, ".dockerignore": "LICENSE\n*.md\n"}) == [
        "error: the license file LICENSE that pyproject.toml names is left out by .dockerignore",
        "warning: the readme README.md that pyproject.toml names is left out by .dockerignore",
    ]


@pytest.mark.parametrize(
    "install",
    [
        "pip install .",
        "pip install --no-cache-dir -e .[dev]",
        "python3 -m pip install . && rm -r x",
        "uv sync --frozen",
        "poetry install",
    ],
)
def test_a_project_installed_before_its_license_is_copied_is_said(said: Said, install: str) -> None:
    dockerfile = f"FROM x\nCOPY pyproject.toml ./\nRUN {install}\nCOPY . .\n{SERVES}"
    assert said({"Dockerfile": dockerfile, "pyproject.toml": LICENSED, "LICENSE": "", "README.md": ""}) == [
        "error: Dockerfile:3 installs the project before its license file LICENSE is copied",
        "warning: Dockerfile:3 installs the project before its readme README.md is copied",
    ]


@pytest.mark.parametrize(
    "steps",
    [
        "COPY pyproject.toml LICENSE README.md ./\nRUN pip install .",
        "COPY pyproject.toml LICEN* *.md ./\nRUN pip install .",
        "COPY . .\nRUN pip install .",
        "COPY pyproject.toml ./\nRUN pip install -r requirements.txt",
        "COPY pyproject.toml ./\nRUN uv sync --no-install-project",
        "COPY pyproject.toml ./\nRUN pip install ./vendor/other",
        "RUN --mount=type=bind,target=/src pip install .",
        "COPY . .\nFROM x AS second\nCOPY --from=0 /app /app\nRUN pip install .",
    ],
)
def test_a_project_installed_with_what_it_needs_is_not_said(said: Said, steps: str) -> None:
    files = {"Dockerfile": f"FROM x\n{steps}\n{SERVES}", "pyproject.toml": LICENSED, "LICENSE": "", "README.md": ""}
    assert said({**files, "requirements.txt": "", "vendor/other/x": ""}) == []


def test_a_literal_include_that_is_missing_is_a_warning(said: Said) -> None:
    toml = '[tool.hatch.build.targets.wheel]\ninclude = ["src/*.py", "data"]\nforce-include = { "gone" = "x" }\n'
    toml += '[tool.poetry]\ninclude = [{ path = "here" }, "lost.txt"]\n'
    assert said({"Dockerfile": f"FROM x\n{SERVES}", "pyproject.toml": toml, "here": ""}) == [
        "warning: data, which pyproject.toml includes, is not there",
        "warning: gone, which pyproject.toml includes, is not there",
        "warning: lost.txt, which pyproject.toml includes, is not there",
    ]
