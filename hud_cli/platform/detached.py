"""A platform in a process of its own, which outlives the command that starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hud.errors import HudError

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig
    from hud_platform.server_info import ServerInfo

__all__ = ["start"]

_LAST_LINES = 5


def start(config: PlatformConfig) -> tuple[ServerInfo, str | None]:
    """Start a platform and wait until it is ready; give what it says of itself, and its key.

    Raises:
        HudError: it ended before; the message is its own.
    """
    from hud_platform.server_info import ServerInfo
    from hud_platform.storage.data_folder import open_folder

    folder = open_folder(config.data)
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hud_cli", "platform", "up", *_words(config)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
    assert process.stdout is not None
    try:
        with process.stdout:
            said = process.stdout.readline()
            # An error is a document of several lines; the line of a platform that is ready is all it will say.
            if not said.startswith(b'{"url"'):
                said += process.stdout.read()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if not said.startswith(b'{"url"'):
        raise _failure(said, process.wait(), folder.log)
    document = json.loads(said)
    info = ServerInfo(url=document["url"], pid=document["pid"], data=document["data"], version="")
    process.returncode = 0  # it goes on by itself; nothing here waits for it
    return info, document["key"]


def _words(config: PlatformConfig) -> list[str]:
    limits = {
        "--data": config.data,
        "--host": config.host,
        "--port": config.port,
        "--url": config.url,
        "--database": config.database_url,
        "--blobs": config.blobs_url,
        "--registry": config.registry,
        "--builds": config.builds_at_once,
        "--build-timeout": config.build_timeout_s,
        "--build-memory": config.build_memory_mb,
        "--upload-limit": config.upload_limit_bytes // 2**20,
        "--log-limit": config.log_limit_bytes // 2**20,
        "--free-disk": config.free_disk_mb,
    }
    return ["--json", "--no-settings", *(f"{name}={value}" for name, value in limits.items() if value is not None)]


def _python_path() -> str:
    """Give the modules' own folder too: this command may run from a checkout, and the server from `/`."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _failure(said: bytes, code: int, log: Path) -> HudError:
    try:
        document = json.loads(said)
        return HudError(document["message"], hint=document.get("suggestion"), exit_code=code if code > 0 else 1)
    except (ValueError, KeyError, TypeError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        last = f": {lines[-1].strip()}" if lines else ""
        return HudError(f"the platform ended with {code} before it was ready{last}", hint=f"{log} has more")
