"""What importing the package costs, and what it gives."""

from __future__ import annotations

import subprocess
import sys

import hud.context


def test_importing_the_package_loads_no_library() -> None:
    program = (
        "import sys, hud.context; print({'msgspec', 'docker', 'tomli'} & {m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_public_name_is_there() -> None:
    assert all(getattr(hud.context, name) is not None for name in hud.context.__all__)
    assert set(hud.context.__all__) == set(hud.context._HOMES)
