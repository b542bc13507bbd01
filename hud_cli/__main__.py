"""`python -m hud_cli` is `hud`."""

from __future__ import annotations

import sys

from hud_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
