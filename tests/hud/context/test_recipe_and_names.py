"""The recipe of a folder and the name its code declares (CLI specification, section 4.6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.context import Recipe, environment_name, find_recipe
from hud.context.names import served_target
from hud.errors import EnvironmentLoadError, HudError, NotFoundError, UsageError
from hud.names import normalise
from tests.hud.context.folders import Files, write

Project = Callable[[Files], Path]
RECIPE = Recipe(dockerfile="Dockerfile")
SERVES_ENV = 'FROM x\nCMD ["hud", "serve", "env.py", "--host", "0.0.0.0"]\n'


def declares(name: str, variable: str = "env") -> str:
    return f'from hud import Environment\n{variable} = Environment("{name}")\n'


def test_dockerfile_hud_comes_before_dockerfile(tmp_path: Path) -> None:
    assert find_recipe(write(tmp_path, {"Dockerfile": ""})) == Recipe(dockerfile="Dockerfile")
    assert find_recipe(write(tmp_path, {"Dockerfile.hud": ""})) == Recipe(dockerfile="Dockerfile.hud")


def test_a_compose_file_beside_a_dockerfile_is_left_alone(tmp_path: Path) -> None:
    assert find_recipe(write(tmp_path, {"compose.yaml": "", "Dockerfile": ""})).dockerfile == "Dockerfile"


@pytest.mark.parametrize("name", ["compose.yaml", "docker-compose.yml", "docker-compose.prod.yml"])
def test_a_compose_file_alone_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_recipe(write(tmp_path, {name: ""}))
    assert refused.value.message == f"{tmp_path} has {name} and no Dockerfile: a Compose project is not built here"


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"^{tmp_path} has neither Dockerfile.hud nor Dockerfile$"):
        find_recipe(write(tmp_path, {"docker-compose.override.yml": ""}))
    with pytest.raises(NotFoundError, match=f"^no such folder: {tmp_path}/none$"):
        find_recipe(tmp_path / "none")
    with pytest.raises(UsageError, match=f"^{tmp_path}/docker-compose.override.yml is no folder$"):
        find_recipe(tmp_path / "docker-compose.override.yml")


@pytest.mark.parametrize(
    ("dockerfile", "target"),
    [
        ('CMD ["hud", "serve", "env.py"]', "env.py"),
        ("CMD hud serve pkg.env:make --port 80", "pkg.env:make"),
        ('CMD ["hud", "serve", "--port", "80", "--watch", "env:env"]', "env:env"),
        ('CMD ["hud", "serve"]', "env"),
        ('ENTRYPOINT ["hud"]\nCMD ["serve", "a.py"]', "a.py"),
        ('ENTRYPOINT ["tini", "--"]\nCMD ["uv", "run", "hud", "serve", "a.py"]', "a.py"),
        ('CMD ["sh", "-c", "exec /opt/venv/bin/hud serve a.py && sleep 1"]', "a.py"),
        ("CMD hud serve \\\n  # the port\n  --port 80 \\\n\n  a.py", "a.py"),
        ("# escape=`\nFROM x\nCMD hud serve `\n a.py", "a.py"),
        ('cmd ["hud", "serve", "first.py"]\nCMD ["hud", "serve", "last.py"]', "last.py"),
        ('CMD ["hud", "serve", "old.py"]\nFROM y\nCMD ["python"]', None),
        ('RUN <<EOF\nCMD ["hud", "serve", "no.py"]\nEOF\nCMD ["hud", "serve", "a.py"]', "a.py"),
        ("RUN echo $((1<<n))\nCMD hud serve a.py", "a.py"),
        ('HEALTHCHECK CMD ["hud", "serve", "no.py"]', None),
        ("CMD python -m env", None),
    ],
)
def test_the_command_of_the_last_stage_says_what_is_served(tmp_path: Path, dockerfile: str, target: str | None) -> None:
    text = dockerfile if dockerfile.startswith("#") else f"FROM x\n{dockerfile}"
    write(tmp_path, {"Dockerfile": f"{text}\n"})
    assert served_target(tmp_path, RECIPE) == target


def test_the_served_module_decides_among_many(project: Project) -> None:
    folder = project({"Dockerfile": SERVES_ENV, "env.py": declares("mine"), "other.py": declares("other")})
    assert environment_name(folder, RECIPE) == "mine"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("env", "env.py"),
        ("env:env", "env.py"),
        ("pkg.env:env", "pkg/env.py"),
        ("pkg", "pkg/__init__.py"),
        ("app.env", "src/app/env.py"),
        ("./sub/env.py", "sub/env.py"),
        ("/app/env.py", "env.py"),
        ("env.py", "deep/down/env.py"),
    ],
)
def test_a_target_is_found_as_path_or_module(project: Project, target: str, path: str) -> None:
    dockerfile = f'FROM x\nCMD ["hud", "serve", "{target}"]\n'
    folder = project({"Dockerfile": dockerfile, path: declares("mine"), "unrelated.py": declares("other")})
    assert environment_name(folder, RECIPE) == "mine"


def test_an_attribute_chooses_within_the_module(project: Project) -> None:
    source = declares("one", "a") + declares("two", "b")
    folder = project({"Dockerfile": "FROM x\nCMD hud serve env:b\n", "env.py": source})
    assert environment_name(folder, RECIPE) == "two"


@pytest.mark.parametrize(
    "source",
    [
        'from hud import Environment\nenv = Environment("mine")',
        'from hud import Environment as Env\nenv: Env = Env(name="mine", version="1")',
        'import hud\nenv = hud.Environment("mine")',
        'from hud.environment import Environment\ndef make():\n    return Environment("mine")',
        'from hud import *\nenv = Environment("mine")',
        'import jinja2\nfrom hud import Environment\njinja2.Environment()\nenv = Environment("mine")',
        '\ufefffrom hud import Environment\nenv = Environment("mine")',
        '# -*- coding: latin-1 -*-\nfrom hud import Environment\nenv = Environment("mine")\ne = "\\d"',
    ],
)
def test_a_declaration_is_found_however_it_is_imported(project: Project, source: str) -> None:
    assert environment_name(project({"deep/x.py": source}), RECIPE) == "mine"


def test_the_source_is_never_imported(project: Project) -> None:
    folder = project({"Dockerfile": SERVES_ENV, "env.py": declares("mine") + "raise SystemExit('imported')\n"})
    assert environment_name(folder, RECIPE) == "mine"


def test_a_module_that_only_imports_the_environment_leaves_it_to_the_tree(project: Project) -> None:
    folder = project(
        {"Dockerfile": SERVES_ENV, "env.py": "from lib.base import env\n", "lib/base.py": declares("mine")}
    )
    assert environment_name(folder, RECIPE) == "mine"


@pytest.mark.parametrize(
    "place",
    ["dist/a.py", "build/a.py", ".venv/a.py", "node_modules/a.py", "x/__pycache__/a.py", ".tox/a.py", "py/lib/a.py"],
)
def test_folders_of_tools_are_not_searched(project: Project, place: str) -> None:
    folder = project({place: declares("other"), "py/pyvenv.cfg": "", "env.py": declares("mine")})
    assert environment_name(folder, RECIPE) == "mine"


def test_files_that_cannot_be_parsed_are_skipped(project: Project) -> None:
    odd: Files = {
        "a.py": b"Environment = '\xff'",
        "b.py": "def Environment(",
        "c.py": b"Environment\0",
        "d.py": "(" * 5000 + "Environment",
        "e.py@": "nowhere.py",
    }
    assert environment_name(project({**odd, "env.py": declares("mine")}), RECIPE) == "mine"
    with pytest.raises(NotFoundError, match=r" declares no environment; a\.py, b\.py, c\.py, d\.py cannot be parsed$"):
        environment_name(project({"env.py": ""}), RECIPE)


def test_a_served_module_that_cannot_be_parsed_is_an_error(project: Project) -> None:
    folder = project({"Dockerfile": SERVES_ENV, "env.py": "Environment\ndef broken(:\n", "x.py": declares("other")})
    with pytest.raises(EnvironmentLoadError, match=r"^env\.py:2, which the image serves, cannot be parsed: "):
        environment_name(folder, RECIPE)


def test_none_unnamed_and_several_are_clear_errors(project: Project) -> None:
    folder = project({"env.py": "x = 1\n"})
    with pytest.raises(NotFoundError, match=f"^{folder} declares no environment$"):
        environment_name(folder, RECIPE)
    write(folder, {"env.py": "from hud import Environment\nNAME = 'x'\nenv = Environment(NAME)\n"})
    with pytest.raises(UsageError, match=r"^the environment in env\.py:3 has no literal name$"):
        environment_name(folder, RECIPE)
    write(folder, {"env.py": declares("one"), "two.py": declares("two")})
    several = rf"^{folder} declares several environments: one \(env\.py:2\), two \(two\.py:2\)$"
    with pytest.raises(UsageError, match=several) as refused:
        environment_name(folder, RECIPE)
    assert refused.value.hint == "hud deploy --name one"


def test_a_name_selects_among_several(project: Project) -> None:
    folder = project({"env.py": declares("one"), "two.py": declares("My_Two")})
    assert environment_name(folder, RECIPE, wanted="my-two") == "My_Two"
    with pytest.raises(NotFoundError, match=f"^{folder} declares no environment 'three', but one, My_Two$"):
        environment_name(folder, RECIPE, wanted="three")


def test_a_file_that_is_named_declares_alone(project: Project) -> None:
    folder = project(
        {"Dockerfile": SERVES_ENV, "env.py": declares("one"), "two.py": declares("two"), "bad.py": "Environment("}
    )
    assert environment_name(folder, RECIPE, source=folder / "two.py") == "two"
    with pytest.raises(EnvironmentLoadError, match=r"^bad\.py:1 cannot be parsed: "):
        environment_name(folder, RECIPE, source=folder / "bad.py")


def test_the_same_name_twice_is_one_name(project: Project) -> None:
    assert environment_name(project({"a.py": declares("one"), "b.py": declares("one")}), RECIPE) == "one"


def test_a_name_of_which_nothing_is_left_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match=r"^the environment name '日本' has no letter or digit$"):
        environment_name(project({"env.py": declares("日本")}), RECIPE)


def test_a_dockerfile_that_is_not_utf8_is_said(project: Project) -> None:
    folder = project({"Dockerfile": b"FROM x\n# caf\xe9\n"})
    with pytest.raises(HudError, match=r"Dockerfile is not UTF-8$"):
        environment_name(folder, RECIPE)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("My_Env", "my-env"),
        ("  My  Env  ", "my-env"),
        ("a__b--c", "a-b-c"),
        ("-x-", "x"),
        ("Ünïcode 2!", "ncode-2"),
        ("日本", ""),
    ],
)
def test_names_have_one_normal_form(name: str, normal: str) -> None:
    """Platform API specification, section 5."""
    assert normalise(name) == normal


@given(st.text())
def test_a_normal_form_stays_as_it_is(name: str) -> None:
    assert normalise(normalise(name)) == normalise(name)


@given(st.text(max_size=200))
def test_any_text_is_a_dockerfile(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(text, encoding="utf-8", errors="replace", newline="")
        served_target(Path(folder), RECIPE)
