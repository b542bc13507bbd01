"""Run a command that has to succeed and print what it used, as JSON: `cpu_s`, `wall_s`, `peak_bytes`.

A program of its own, because the peak that a system reports for a process begins with that of its parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    begun = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code != 0:
        sys.exit(f"{' '.join(sys.argv[1:])} ended with {code}")
    found = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall_s, "peak_bytes": used.ru_maxrss * 1024}
    print(json.dumps(found))
