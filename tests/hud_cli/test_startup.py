"""What a command loads. Modules are counted, not time: a newcomer is named here before it costs anyone anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each of these costs milliseconds that `hud task …` in an image does not have.
HEAVY = {
    "argparse", "asyncio", "contextlib", "dataclasses", "difflib", "email", "hashlib", "importlib.metadata", "inspect",
    "logging", "pathlib", "selectors", "shutil", "signal", "ssl", "subprocess", "tempfile", "textwrap", "threading",
    "typing", "urllib", "zipfile",
}  # fmt: skip

SCRIPT = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv.pop(1))
from hud_cli.main import main
code = main()
print(json.dumps([code, sorted(set(sys.modules) - before)]), file=sys.stderr)
"""


def loaded(*words: str, cwd: Path, flags: tuple[str, ...] = ("-I", "-S")) -> set[str]:
    done = subprocess.run(
        [sys.executable, *flags, "-c", SCRIPT, str(ROOT), *words], cwd=cwd, capture_output=True, text=True, timeout=30
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    (tmp_path / "env.py").write_text(
        "from hud import Environment\nenv = Environment('e')\n"
        "@env.template()\nasync def t(a: int = 1):\n    yield 'p'\n    yield 1.0\n"
    )
    (tmp_path / "tasks.py").write_text("from env import t\ntasks = [t(), t(a=2)]\n")
    return tmp_path


def test_task_list_in_an_image_loads_nothing_heavy(plain: Path) -> None:
    modules = loaded("task", "list", cwd=plain)
    assert not modules & HEAVY
    ours = {name for name in modules if name.partition(".")[0] in ("hud", "hud_cli")}
    assert ours <= {
        "hud", "hud.version", "hud.errors", "hud.capabilities", "hud.capabilities.capability", "hud.environment",
        "hud.environment.environment", "hud.environment.signature", "hud.environment.source",
        "hud.environment.template", "hud.eval", "hud.eval.task",
        "hud_cli", "hud_cli.commands", "hud_cli.main", "hud_cli.output", "hud_cli.parser", "hud_cli.signals",
        "hud_cli.task",
    }  # fmt: skip


def test_help_and_version_in_an_image_load_nothing_heavy(plain: Path) -> None:
    assert not loaded("--version", cwd=plain) & (HEAVY | {"json", "re"})
    assert not loaded("--help", cwd=plain) & (HEAVY - {"textwrap"})


def test_importing_hud_loads_its_version_alone() -> None:
    script = "import sys; before = set(sys.modules); import hud; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert set(done.stdout.split()) <= {"hud", "hud.version", "__future__"}


def test_start_and_grade_on_a_served_environment_load_sockets_and_nothing_heavy(plain: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "hud.environment.server", str(plain / "env.py")], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().decode().removeprefix("HUD_SERVE_PORT=").strip()
        for words in (["start", "t"], ["grade", "t", "--answer", "x"]):
            modules = loaded("task", *words, "--url", f"127.0.0.1:{port}", cwd=plain)
            assert not modules & (HEAVY - {"selectors"})  # which `socket` loads
            assert not {name for name in modules if name.startswith("hud.environment")}
    finally:
        server.terminate()
        server.communicate(timeout=10)


def test_help_on_a_workstation_loads_no_third_party_but_typer(plain: Path) -> None:
    modules = loaded("--help", cwd=plain, flags=("-I",))
    tops = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"hud", "hud_cli"}
    assert tops <= {"typer", "annotated_doc", "typing_extensions", "click", "shellingham"}
    assert not modules & {"asyncio", "logging", "hud.eval", "hud.environment", "rich", "docker", "httpx"}
