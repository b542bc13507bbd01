"""What `hud deploy` is told on its command line, read into values. No message shows a value."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hud.errors import HudError, UsageError
from hud_cli import output
from hud_cli.confirmation import says_yes

if TYPE_CHECKING:
    from typing import Any

__all__ = ["agreed_variables", "file_variables", "own_variables", "pairs", "runtime_config", "secrets"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_HINT = "--secret id=NAME,env=VARIABLE or --secret id=NAME,src=FILE"


def pairs(option: str, items: list[str]) -> dict[str, str]:
    """Read `NAME=VALUE` items.

    Raises:
        UsageError: one is no such pair.
    """
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"{option} takes NAME=VALUE, got {name!r} {'as the name' if equals else 'alone'}")
        found[name] = value
    return found


def secrets(items: list[str]) -> dict[str, str]:
    """Read build secrets from where each says: a variable of this process, or a file.

    Raises:
        UsageError: an item is malformed, or its variable is not set.
        HudError: its file cannot be read as text.
    """
    return dict(map(_secret, items))


def _secret(item: str) -> tuple[str, str]:
    fields = dict(part.partition("=")[::2] for part in item.split(","))
    name, kind = fields.get("id", ""), fields.get("type", "")
    source, variable = fields.get("src", fields.get("source")), fields.get("env")
    known = {"id", "env", "src", "source", "type"}
    if (
        not name
        or "" in fields.values()
        or not known.issuperset(fields)
        or kind not in ("", "env", "file")
        or (source is not None and variable is not None)
        or (source is None and kind == "file")
    ):
        raise UsageError(f"--secret {f'id={name}' if name else 'without an id'} cannot be read", hint=_SECRET_HINT)
    if source is not None and kind != "env":
        return name, _secret_of_file(name, Path(source))
    # As Docker has it: without a source, the variable of the same name.
    return name, _secret_of_variable(name, variable or source or name)


def _secret_of_file(name: str, file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        raise HudError(f"the secret {name!r} in {file} is no UTF-8 text") from None
    except OSError as error:
        raise HudError(f"the secret {name!r} cannot be read from {file}: {error.strerror}") from error


def _secret_of_variable(name: str, variable: str) -> str:
    value = os.environ.get(variable)
    if value is None:
        raise UsageError(f"the secret {name!r} is to be in ${variable}, which is not set", hint=_SECRET_HINT)
    return value


def runtime_config(file: Path) -> dict[str, Any]:
    """Read a runtime config.

    Raises:
        UsageError: it is no JSON, or says what no runtime knows.
        HudError: the file cannot be read.
    """
    import json

    from hud.eval.config import RuntimeConfig

    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise HudError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: {error}") from error
    return RuntimeConfig.from_dict(document).to_dict()


def file_variables(file: Path) -> dict[str, str]:
    """Read the file of `--env-file`.

    Raises:
        HudError: it is not there, or a line of it is no variable.
    """
    from hud.context import read_env_file

    return read_env_file(file)


def own_variables(folder: Path) -> dict[str, str]:
    """Give the variables of a folder's `.env`, but for what `hud` itself is set by: its key is not the environment's.

    Raises:
        UsageError: a line of it is no variable.
    """
    from hud.context import read_env_file
    from hud.settings import NAMES

    own = folder / ".env"
    if not own.is_file():
        return {}
    return {name: value for name, value in read_env_file(own).items() if name not in NAMES}


def agreed_variables(folder: Path, *, as_json: bool) -> dict[str, str]:
    """Give the variables of a folder's `.env` if somebody at a terminal agrees: it is often meant for this machine.

    Raises:
        UsageError: there are some, and nobody can be asked.
        HudError: the input ended without an answer.
    """
    known = own_variables(folder)
    if not known:
        return {}
    own, names = folder / ".env", ", ".join(known)
    if as_json or not output.is_interactive():
        raise UsageError(
            f"{own} has variables ({names}), and nobody can be asked whether to send them",
            hint=f"--env-file {own} sends them, --no-env does not",
        )
    return known if says_yes(f"Send {names} of {own} as variables of the environment?") else {}
