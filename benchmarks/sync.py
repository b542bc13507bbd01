"""`hud sync tasks --dry-run` of 100,000 local rows with 100,000 remote ones, of which one in a hundred has changed."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, quick_asked, report, run
from benchmarks.parts import HUD, LOCAL_ENVIRONMENT, ROOT, peer, say
from hud.sync.signature import digest, taskset_digest

_USAGE, _BARE = ROOT / "benchmarks" / "usage.py", ROOT / "benchmarks" / "bare_json.py"
_TASKSET = "99999999-9999-4999-8999-999999999999"
_SENTENCE = "write a short report about the weather in the town where you were born and count its letters"
_MEMORY_LIMIT_MIB = 300.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one run of a command used."""

    cpu_s: float
    wall_s: float
    peak_bytes: int


def main() -> None:
    quick = quick_asked(__doc__)
    number = 5_000 if quick else 100_000
    repeats = 2 if quick else 5
    python = peer()
    if python is None:
        say("without the public SDK, no comparison with it: scripts/peer-sdk")
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as name:
        folder = Path(name)
        local = _rows(number)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in local))
        replies = _replies(local)
        (folder / "export.json").write_bytes(replies["/v2/tasksets/{id}/export"])
        del local
        with _serving(replies, extensions=False) as public, _serving(replies, extensions=True) as own:
            sides = {"public": (HUD, public), "own": (HUD, own)}
            if python is not None:
                sides["peer"] = (python.with_name("hud"), public)
            used: dict[str, list[Usage]] = {side: [] for side in sides}
            limits: list[float] = []
            for turn in range(repeats):
                limits.append(float(run([sys.executable, _BARE, "rows.jsonl", "export.json"], cwd=folder)))
                for side, (hud, url) in sides.items():
                    if side != "peer" or turn < 2:  # it takes ten seconds
                        used[side].append(_usage(hud, url, folder))
    _report(used, min(limits), number)


def _report(used: Mapping[str, list[Usage]], limit_s: float, number: int) -> None:
    theirs = used.get("peer")
    for side, against in (("public", "the public service's export"), ("own", "digests of our own platform")):
        best_s = min(usage.cpu_s for usage in used[side])
        report(
            Figure(
                name=f"`hud sync tasks --dry-run`, {number:,} rows, {against}, processor time",
                unit="ms",
                ours=best_s * 1e3,
                against="`json.loads` of both sides and a comparison",
                reference=limit_s * 1e3,
                target=1.0,
                peer=min(usage.cpu_s for usage in theirs) * 1e3 if theirs else None,
            )
        )
    if theirs:
        report(
            Figure(
                name=f"the same, {number:,} rows, wall clock",
                unit="ms",
                ours=min(usage.wall_s for usage in used["public"]) * 1e3,
                against="the public SDK",
                reference=min(usage.wall_s for usage in theirs) * 1e3,
                bound="at least",
                target=5.0,
            )
        )
    for side in ("public", "own"):
        report(
            Figure(
                name=f"the same, {number:,} rows, peak of memory ({side})",
                unit="MiB",
                ours=max(usage.peak_bytes for usage in used[side]) / 2**20,
                against="the limit",
                reference=_MEMORY_LIMIT_MIB,
                target=1.0,
                peer=max(usage.peak_bytes for usage in theirs) / 2**20 if theirs else None,
            )
        )


def _usage(hud: Path, url: str, folder: Path) -> Usage:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    command: list[str | Path] = [
        sys.executable,
        "-S",
        "-E",
        _USAGE,
        hud,
        "sync",
        "tasks",
        "big",
        "rows.jsonl",
        "--dry-run",
        "--yes",
    ]
    variables = {"HUD_API_KEY": "sk-figures", "HUD_API_URL": url, "HOME": str(home)}
    return Usage(**json.loads(run(command, cwd=folder, env={**LOCAL_ENVIRONMENT, **variables})))


def _rows(number: int) -> list[dict[str, Any]]:
    chance, words = random.Random(1), _SENTENCE.split()
    return [
        {
            "slug": f"count-{index:06d}",
            "env": "letter-env",
            "id": "count",
            "args": {"sentence": " ".join(chance.choices(words, k=20)), "letter": "r", "n": index, "weight": 0.7},
            "columns": {"difficulty": chance.choice(["easy", "hard"]), "split": "train"},
        }
        for index in range(number)
    ]


def _replies(local: list[dict[str, Any]]) -> dict[str, bytes]:
    """Give what a platform answers, by path; one row in a hundred is another there."""
    remote = [{**row, "args": {**row["args"], "n": -1}} if index % 100 == 0 else row for index, row in enumerate(local)]
    records = [
        {"name": row["slug"], "env": row["env"], "scenario": row["id"], "args": row["args"], "columns": row["columns"]}
        for row in remote
    ]
    digests = {row["slug"]: digest(row) for row in remote}
    tasks = {slug: one.hex() for slug, one in digests.items()}
    documents: dict[str, object] = {
        "/v2/auth/me": {"user_id": _TASKSET, "team_id": _TASKSET},
        "/v2/tasksets/by-name/big": {"taskset_id": _TASKSET, "name": "big"},
        "/v2/tasksets/{id}": {"id": _TASKSET, "name": "big", "can_edit": True},
        "/v2/tasksets/{id}/export": {"name": "big", "tasks": records},
        "/v2/tasksets/{id}/signatures": {"revision": 1, "digest": taskset_digest(digests), "tasks": tasks},
        "/v2/capabilities": {"server": "figures", "version": "1", "extensions": ["tasksets"]},
    }
    return {path: json.dumps(document).encode() for path, document in documents.items()}


@contextmanager
def _serving(replies: Mapping[str, bytes], *, extensions: bool) -> Iterator[str]:
    """Answer with these replies on a loopback port, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = replies.get(self.path.replace(_TASKSET, "{id}"))
            if self.path == "/v2/capabilities" and not extensions:
                body = None
            self.send_response(404 if body is None else 200)
            body = b'{"detail": "Not Found"}' if body is None else body
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing goes between the figures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    main()
