"""Call the repository's functions and report what they give: one JSON line a call.

Runs in a process of its own, as a user who owns nothing and may start nothing, in a copy of the workspace. It gets
the arguments but never what would be right: results are compared in the process that sent them.
"""

import importlib
import json
import os
import resource
import sys

for limit, value in (("RLIMIT_NPROC", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_CPU", 10), ("RLIMIT_AS", 1 << 30)):
    try:
        resource.setrlimit(getattr(resource, limit), (value, value))
    except (AttributeError, ValueError, OSError):
        pass  # a limit that this system lacks

calls = json.load(sys.stdin)
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the repository prints is no result
sys.path.insert(0, os.getcwd())
for call in calls:
    try:
        module, _, name = call["function"].rpartition(".")
        function = getattr(importlib.import_module(module), name)
        line = json.dumps({"returns": function(*call["args"])})
    except BaseException as error:  # noqa: BLE001  whatever the repository raises is its result
        line = json.dumps({"raises": type(error).__name__})
    print(line, file=report, flush=True)
