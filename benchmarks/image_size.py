"""What an image of an environment has that its base has not: `hud`, its byte code, its wheel, and the scaffold."""

from __future__ import annotations

from benchmarks.measure import Figure, quick_asked, report, run
from benchmarks.parts import base_image, docker_client, image, peer, peer_image, say, scaffold

_LIMIT_MB = 2.0


def main() -> None:
    quick = quick_asked(__doc__)
    client = docker_client()
    if client is None:
        say("without an engine, no image: scripts/docker-engine up")
        return
    with scaffold() as folder, image(folder) as tag:
        ours = _added_mb(client, tag)
    peer_adds = None
    if not quick and peer() is not None:
        with peer_image() as tag:
            peer_adds = _added_mb(client, tag)
    report(
        Figure(
            name="what `hud` adds to an image, a blank environment included",
            unit="MB",
            ours=ours,
            against="the limit",
            reference=_LIMIT_MB,
            target=1.0,
            peer=peer_adds,
        )
    )


def _added_mb(client: str, tag: str) -> float:
    sizes = run([client, "image", "inspect", "--format", "{{.Size}}", tag, base_image()]).split()
    return (int(sizes[0]) - int(sizes[1])) / 1e6


if __name__ == "__main__":
    main()
