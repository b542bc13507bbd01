"""What finding, hashing and packing a build's files cost: beside reading and hashing them, and the public client."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.measure import Figure, in_turns, quick_asked, report, wall_s
from benchmarks.parts import LOCAL_ENVIRONMENT, ROOT, peer, say
from hud.context import digest, find_recipe, scan, write_archive
from hud.context.manifest import decode

_WORDS = [
    f"{stem}{ending}"
    for stem in ("read", "write", "task", "grade", "agent", "image", "context", "value", "result", "number")
    for ending in ("", "s", "_path", "_name", "_id", "(self)", " = ", " == ", ": str", ", None")
]
_SOURCE = 'from hud import Environment\n\nenv = Environment("figures")\n'
_RECIPE = 'FROM scratch\nCOPY . /app\nCMD ["hud", "serve", "env.py"]\n'
_LARGE_BYTES = 2**30


def main() -> None:
    quick = quick_asked(__doc__)
    python = peer()
    if python is None:
        say("without the public SDK, no comparison with it: scripts/peer-sdk")
    for count in (10_000, 50_000):
        with project(count) as folder:
            _small_files(folder, count, python, quick=quick)
    _large_file(quick=quick)


def _small_files(folder: Path, count: int, python: Path | None, *, quick: bool) -> None:
    repeats = 3 if quick else 15
    recipe = find_recipe(folder)
    seconds = in_turns(
        {
            "ours": lambda: _wall_s(lambda: digest(scan(folder, recipe))),
            "bare": lambda: _wall_s(lambda: _read_and_hash(folder)),
            "archive": lambda: _wall_s(lambda: write_archive(scan(folder, recipe), io.BytesIO())),
        },
        repeats=repeats,
    )
    ours, bare, archive = (min(seconds[side]) * 1e3 for side in ("ours", "bare", "archive"))
    peers = None
    if python is not None:
        peers = min(_peer_packing_s(python, folder) for _ in range(1 if quick else 3)) * 1e3
    report(
        Figure(
            name=f"finding and hashing a context of {count:,} files",
            unit="ms",
            ours=ours,
            against="walking, reading and hashing them",
            reference=bare,
            target=2.0,
            peer=peers,
        )
    )
    if peers is not None:
        against = "the public client's packing"
        name = f"finding and hashing a context of {count:,} files, beside the public client"
        report(Figure(name=name, unit="ms", ours=ours, against=against, reference=peers, bound="at least", target=5.0))
        name = f"packing a context of {count:,} files for the public service"
        report(Figure(name=name, unit="ms", ours=archive, against=against, reference=peers, bound="at least"))
    encoded = digest(scan(folder, recipe)).encode()
    seconds = in_turns(
        {"ours": lambda: _wall_s(lambda: decode(encoded)), "json": lambda: _wall_s(lambda: json.loads(encoded))},
        repeats=repeats,
    )
    report(
        Figure(
            name=f"reading and checking a manifest of {count:,} files",
            unit="ms",
            ours=min(seconds["ours"]) * 1e3,
            against="json.loads of it",
            reference=min(seconds["json"]) * 1e3,
            target=2.0,
        )
    )


def _large_file(*, quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as parent:
        folder = Path(parent)
        (folder / "Dockerfile").write_text(_RECIPE)
        with (folder / "weights").open("wb") as file:
            file.truncate(_LARGE_BYTES)
        seconds = in_turns(
            {
                "ours": lambda: _in_fresh_process(folder).seconds,
                "bare": lambda: _wall_s(lambda: _read_and_hash(folder)),
            },
            repeats=1 if quick else 5,
        )
        report(
            Figure(
                name="finding and hashing a context with one file of 1 GiB",
                unit="ms",
                ours=min(seconds["ours"]) * 1e3,
                against="reading and hashing it",
                reference=min(seconds["bare"]) * 1e3,
                target=2.0,
            )
        )
        report(
            Figure(
                name="memory that hashing one file of 1 GiB takes",
                unit="MiB",
                ours=_in_fresh_process(folder).grown_bytes / 2**20,
                against="the limit",
                reference=64,
                target=1.0,
            )
        )


class _Hashed:
    """What hashing a folder took in a process of its own."""

    def __init__(self, line: str) -> None:
        self.seconds, self.grown_bytes = json.loads(line)


def _in_fresh_process(folder: Path) -> _Hashed:
    command = [sys.executable, "-m", "benchmarks.context", "--hash", str(folder)]
    return _Hashed(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _hash_once(folder: Path) -> None:
    recipe = find_recipe(folder)
    before = _most_memory_bytes()
    seconds = wall_s(lambda: digest(scan(folder, recipe)))
    print(json.dumps([seconds, _most_memory_bytes() - before]))


def _most_memory_bytes() -> int:
    # Not getrusage: what it says survives exec, so a child begins with its parent's most.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def _wall_s(work: object) -> float:
    # A collection in the midst of one side would be the other side's garbage.
    gc.collect()
    assert callable(work)
    return wall_s(work)


def _read_and_hash(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                if os.fstat(file.fileno()).st_size > 2**21:
                    hashlib.file_digest(file, "sha256")
                else:
                    hashlib.sha256(file.read()).hexdigest()


@contextmanager
def project(count: int) -> Iterator[Path]:
    """Give a folder of that many files that look like source, some two kilobytes each, 25 a folder."""
    chance = random.Random(count)
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as parent:
        folder = Path(parent) / "figures"
        folder.mkdir()
        (folder / "Dockerfile").write_text(_RECIPE)
        (folder / "env.py").write_text(_SOURCE)
        for number in range(count - 2):
            place = folder / f"package{number // 1000:02d}" / f"module{number // 25 % 40:02d}"
            place.mkdir(parents=True, exist_ok=True)
            words = chance.choices(_WORDS, k=chance.randint(20, 400))
            (place / f"part{number:05d}.ts").write_text("\n".join(words))
        yield folder


def _peer_packing_s(python: Path, folder: Path) -> float:
    """Run the public client's `hud deploy` and give the time between its last call before packing and its next one.

    The next one is refused, so nothing is uploaded.
    """
    with _refusing_service() as service, tempfile.TemporaryDirectory(prefix="hud-figures-") as home:
        url = f"http://127.0.0.1:{service.server_port}"
        addresses = (
            "HUD_API_URL",
            "HUD_WEB_URL",
            "HUD_TELEMETRY_URL",
            "HUD_RUNTIME_URL",
            "HUD_GATEWAY_URL",
            "HUD_RL_URL",
        )
        environment = {
            **LOCAL_ENVIRONMENT,
            **dict.fromkeys(addresses, url),
            "HUD_API_KEY": "sk-hud-figures",
            "HOME": home,
        }
        command = [str(python.with_name("hud")), "deploy", ".", "--yes", "--no-env", "--json"]
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if service.asked_for_upload is None or service.identified is None:
            raise RuntimeError(f"the public client did not get as far as its upload:\n{done.stderr[-2000:]}")
        return service.asked_for_upload - service.identified


class _Service(ThreadingHTTPServer):
    """A platform that knows who asks and refuses every upload; it keeps when each happened."""

    daemon_threads = True
    identified: float | None = None
    asked_for_upload: float | None = None


class _Handler(BaseHTTPRequestHandler):
    server: _Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        user = "11111111-1111-4111-8111-111111111111"
        self._send(200, {"user_id": user, "team_id": user, "items": [], "total": 0})
        self.server.identified = time.perf_counter()

    def do_POST(self) -> None:
        if self.path.endswith("/builds/upload-url"):
            self.server.asked_for_upload = time.perf_counter()
        self._send(400, {"detail": "no uploads here"})

    def _send(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _refusing_service() -> Iterator[_Service]:
    with _Service(("127.0.0.1", 0), _Handler) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--hash"]:
        _hash_once(Path(sys.argv[2]))
    else:
        main()
