"""Write the completion scripts into the checkout."""

from __future__ import annotations

from hud.errors import UsageError
from hud_cli import output
from hud_cli.completion import FILE_NAMES, script
from hud_cli.wheel import checkout_root


def main() -> None:
    """Write completions/ anew.

    Raises:
        UsageError: this is no checkout.
    """
    root = checkout_root()
    if root is None:
        raise UsageError("only a checkout has a folder for generated completions")
    for shell, name in FILE_NAMES.items():
        path = root / "completions" / name
        path.write_text(script(shell), "utf-8")
        output.note(f"Wrote {path}")


if __name__ == "__main__":
    main()
