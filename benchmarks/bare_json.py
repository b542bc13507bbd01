"""The least that comparing task rows could cost: `json.loads` of both sides and a dictionary comparison.

Prints the seconds of processor time, without those of starting Python.
"""

from __future__ import annotations

import json
import sys
import time


def main(local_path: str, export_path: str) -> None:
    begun = time.process_time()
    with open(local_path, encoding="utf-8") as file:
        local = {row["slug"]: row for row in map(json.loads, file)}
    with open(export_path, encoding="utf-8") as file:
        remote = {record["name"]: record for record in json.load(file)["tasks"]}
    different = [slug for slug, row in local.items() if remote[slug]["args"] != row["args"]]
    took_s = time.process_time() - begun
    assert different
    print(took_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
