"""Time what no forked rollout can go below: a fork, an exit and a wait of a process as large as the warm parent.

`python bare_fork.py SOURCE COUNT` prints seconds a fork.
"""

from __future__ import annotations

import os
import sys
import time

from hud.environment.source import load_environments, source_folder
from hud.eval.runtimes import forkserver


def main(source: str, count: int) -> None:
    assert forkserver.__file__  # imported for its size alone
    sys.path.insert(0, source_folder(source))
    environments = load_environments(source)
    assert environments
    begun = time.perf_counter()
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    print((time.perf_counter() - begun) / count)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
