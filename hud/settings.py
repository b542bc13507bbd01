"""What is configured: a key, the addresses of a platform's services, and where each came from.

Highest first: what a caller passes, the process environment, `./.env`, `~/.hud/.env`. A key goes only where whoever
chose the key also chose to send it: an address in `./.env` counts for a key in `./.env` alone, because entering a
folder must not send the stored key to a host that the folder names; and the services that no setting names are on the
host of `HUD_API_URL` as soon as that is not the public service.

Source: platform API specification, section 1 and weaknesses 21 and 22; CLI specification, sections 2.1 and 2.2.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from hud import env_file, files
from hud.errors import HudError, UsageError

__all__ = [
    "ADDRESSES",
    "NAMES",
    "PUBLIC_ADDRESSES",
    "Settings",
    "checked",
    "find",
    "keep_key",
    "load",
    "origin",
    "save",
    "stored_path",
]

PUBLIC_ADDRESSES = {
    "HUD_API_URL": "https://api.hud.ai",
    "HUD_WEB_URL": "https://hud.ai",
    "HUD_TELEMETRY_URL": "https://telemetry.hud.ai/v3/api",
    "HUD_RUNTIME_URL": "https://mcp.hud.ai",
    "HUD_GATEWAY_URL": "https://inference.hud.ai",
    "HUD_RL_URL": "https://rl.hud.ai",
}
ADDRESSES = tuple(PUBLIC_ADDRESSES)

ENVIRONMENT, FOLDER, HOME, CALLER, DEFAULT = "the environment", "./.env", "~/.hud/.env", "the command line", "default"
"""The words of `Settings.source_of`."""

_PATHS = {"HUD_TELEMETRY_URL": "/v3/api"}  # of services that share a host with the API
_KEY, _PROJECT, _RETRY_LIMIT = "HUD_API_KEY", "HUD_DEFAULT_PROJECT", "HUD_RETRY_LIMIT_S"
_DEFAULT_RETRY_LIMIT_S = 60.0
_PORTS = {"http": 80, "https": 443}

NAMES = (_KEY, *ADDRESSES, _PROJECT, _RETRY_LIMIT)
"""Every setting, by the variable that holds it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is configured. Addresses have no trailing slash.

    Attributes:
        retry_limit_s: The most that one call may wait between its tries, added up.
        source_of: Where each value came from, by the variable's name.
    """

    api_key: str | None = field(default=None, repr=False)
    api_url: str = PUBLIC_ADDRESSES["HUD_API_URL"]
    web_url: str = PUBLIC_ADDRESSES["HUD_WEB_URL"]
    telemetry_url: str = PUBLIC_ADDRESSES["HUD_TELEMETRY_URL"]
    runtime_url: str = PUBLIC_ADDRESSES["HUD_RUNTIME_URL"]
    gateway_url: str = PUBLIC_ADDRESSES["HUD_GATEWAY_URL"]
    rl_url: str = PUBLIC_ADDRESSES["HUD_RL_URL"]
    default_project: str | None = None
    retry_limit_s: float = _DEFAULT_RETRY_LIMIT_S
    source_of: Mapping[str, str] = field(default_factory=dict)


def load(explicit: Mapping[str, str | None] | None = None, *, folder: Path | None = None) -> Settings:
    """Give what is configured now, for commands that run in `folder` (default: the current one).

    Args:
        explicit: Values by variable name that win over all others; None is no value.

    Raises:
        UsageError: an address that is none, or one in `./.env` while the key comes from elsewhere.
    """
    sources = _sources(explicit or {}, folder)
    found: dict[str, str] = {}
    source_of: dict[str, str] = {}
    for name in NAMES:
        for source, values in sources.items():
            if value := values.get(name, "").strip():
                found[name], source_of[name] = checked(name, value, source=source), source
                break
    _refuse_address_of_folder(found, source_of)
    addresses = _addresses(found)
    source_of |= {name: DEFAULT for name in ADDRESSES if name not in source_of}
    return Settings(
        api_key=found.get(_KEY),
        api_url=addresses["HUD_API_URL"],
        web_url=addresses["HUD_WEB_URL"],
        telemetry_url=addresses["HUD_TELEMETRY_URL"],
        runtime_url=addresses["HUD_RUNTIME_URL"],
        gateway_url=addresses["HUD_GATEWAY_URL"],
        rl_url=addresses["HUD_RL_URL"],
        default_project=found.get(_PROJECT),
        retry_limit_s=float(found.get(_RETRY_LIMIT, _DEFAULT_RETRY_LIMIT_S)),
        source_of=source_of,
    )


def find(name: str) -> str | None:
    """Give one setting as it is written, from the environment, `./.env` or `~/.hud/.env`; nothing is checked."""
    values = (values.get(name) for values in _sources({}, None).values())
    return next((value for value in values if value), None)


def checked(name: str, value: str, *, source: str) -> str:
    """Give a setting's value in its one form, such as an address without its trailing slash.

    Raises:
        UsageError: it is not what the setting holds; the message names `source`, but never a key.
    """
    hint = f"hud set {name}=… keeps another one"
    if name == _KEY and not (value.isascii() and value.isprintable() and " " not in value):
        raise UsageError(f"{_KEY} of {source} holds a character that no key has", hint=hint)
    if name in PUBLIC_ADDRESSES:
        if not _is_address(value):
            raise UsageError(f"{name} of {source} is no http address: {value!r}", hint=hint)
        return value.rstrip("/")
    if name == _RETRY_LIMIT and not _is_duration(value):
        raise UsageError(f"{name} of {source} is no number of seconds: {value!r}", hint=hint)
    return value


def origin(url: str) -> str:
    """Give the scheme, the host and a port that is not the scheme's own, in lower case."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def stored_path() -> Path:
    """Give the path of the user's settings, `~/.hud/.env`.

    Raises:
        HudError: there is no home folder.
    """
    try:
        return Path.home() / ".hud" / ".env"
    except RuntimeError:
        raise HudError("there is no home folder to keep settings in", hint="export HOME=…") from None


def save(values: Mapping[str, str | None]) -> None:
    """Keep settings in `~/.hud/.env`, which only its owner may read; None takes one out, all others stay.

    Raises:
        UsageError: a name or a value that such a file cannot hold; nothing is written.
        HudError: the file cannot be written.
    """
    path = stored_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_mode & 0o077:
            path.parent.chmod(0o700)  # older releases made it readable for everybody
    except OSError as error:
        raise HudError(f"cannot make {path.parent}: {error.strerror}") from error
    with files.locked(path.parent):
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            text = "# Settings of hud, kept by `hud login` and `hud set`.\n"
        except OSError as error:
            raise HudError(f"cannot read {path}: {error.strerror}") from error
        content = env_file.rewrite(text, values).encode("utf-8", "surrogateescape")
        files.replace(path, content, mode=0o600)


def keep_key(key: str, *, api_url: str) -> str | None:
    """Keep a key with the platform it is for, as what commands use from now on.

    A stored key of another platform moves to a name of its own (`HUD_API_KEY_OF_API_HUD_AI`) and its addresses go:
    none of them may be sent the new key.

    Returns:
        The name that the other platform's key has now, or None when there was none.
    """
    stored = env_file.read(stored_path())
    old_url = stored.get("HUD_API_URL") or PUBLIC_ADDRESSES["HUD_API_URL"]
    values: dict[str, str | None] = {_KEY: key}
    moved = None
    if not _is_address(old_url) or origin(old_url) != origin(api_url):
        values |= dict.fromkeys(ADDRESSES)
        if stored.get(_KEY):
            moved = _name_for_key_of(old_url)
            values[moved] = stored[_KEY]
    values["HUD_API_URL"] = None if api_url == PUBLIC_ADDRESSES["HUD_API_URL"] else api_url
    values |= {_name_for_key_of(api_url): None}
    save(values)
    return moved


def _name_for_key_of(url: str) -> str:
    return f"{_KEY}_OF_{re.sub('[^A-Z0-9]', '_', url.partition('://')[2].partition('/')[0].upper())}"


def _sources(explicit: Mapping[str, str | None], folder: Path | None) -> dict[str, Mapping[str, str]]:
    """Give the values of each source, highest first."""
    try:
        home = env_file.read(stored_path())
    except HudError:
        home = {}
    return {
        CALLER: {name: value for name, value in explicit.items() if value is not None},
        ENVIRONMENT: os.environ,
        FOLDER: env_file.read((folder or Path()) / ".env"),
        HOME: home,
    }


def _addresses(found: Mapping[str, str]) -> dict[str, str]:
    api_url = found.get("HUD_API_URL", PUBLIC_ADDRESSES["HUD_API_URL"])
    if origin(api_url) == origin(PUBLIC_ADDRESSES["HUD_API_URL"]):
        return {**PUBLIC_ADDRESSES, **{name: found[name] for name in ADDRESSES if name in found}}
    # The key of a private platform must not go to the public service's other hosts because nobody named private ones.
    own = origin(api_url)
    return {name: found.get(name, own + _PATHS.get(name, "")) for name in ADDRESSES}


def _refuse_address_of_folder(found: Mapping[str, str], source_of: Mapping[str, str]) -> None:
    if source_of.get(_KEY, FOLDER) == FOLDER:
        return
    for name in ADDRESSES:
        if source_of.get(name) == FOLDER:
            raise UsageError(
                f"./.env sends the key of {source_of[_KEY]} to {origin(found[name])} ({name})",
                hint=f"if that is meant: export {name}={found[name]}; or put that platform's HUD_API_KEY into ./.env",
            )


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in _PORTS
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc  # credentials in an address end up in logs
            and not (parts.query or parts.fragment)
            and value.isascii()
            and value.isprintable()
            and " " not in value
        )
    except ValueError:  # a port or an IPv6 host that is none
        return False


def _is_duration(value: str) -> bool:
    try:
        return math.isfinite(float(value)) and float(value) >= 0
    except ValueError:
        return False
