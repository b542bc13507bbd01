"""Variables of a deployed environment, read from a `.env` file: a line that is none is an error, not skipped.

Values read as those of `hud.env_file`: no interpolation, one pair of quotes, ` #` comments where there are none.

Source: CLI specification, section 2.2.
"""

from __future__ import annotations

import re
from pathlib import Path

from hud import env_file
from hud.errors import HudError, NotFoundError, UsageError

__all__ = ["parse", "read_env_file"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HINT = "a line is NAME=value, a # comment or empty"


def parse(text: str, *, name: str = ".env") -> dict[str, str]:
    """Give the variables of a text in their order; of a name that is there twice, the last value.

    Args:
        name: How messages call the text.

    Raises:
        UsageError: a line is no variable, no comment and not empty; the message has its number, never its value.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        found = env_file.parse(line)
        if not found:
            raise UsageError(f"{name}:{number} is no variable", hint=_HINT)
        for variable, value in found.items():
            if not _NAME.fullmatch(variable):
                raise UsageError(f"{name}:{number} names a variable {variable!r}", hint="letters, digits and _")
            if "\0" in value:
                raise UsageError(f"{name}:{number} has a NUL in its value", hint=_HINT)
            variables[variable] = value
    return variables


def read_env_file(path: Path) -> dict[str, str]:
    """Give the variables of a file.

    Raises:
        NotFoundError: it is not there.
        HudError: it cannot be read.
        UsageError: it is not UTF-8, or a line of it is no variable.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except OSError as error:
        raise HudError(f"cannot read {path}: {error.strerror}") from error
    try:
        return parse(content.decode("utf-8"), name=str(path))
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{number} is not UTF-8", hint=f"iconv -t UTF-8 {path}") from error
