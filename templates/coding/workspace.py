"""Fresh copies of the repository for each session, and programs run as users who own little.

In the image the server is root, the agent's shell is the user `agent`, and what is graded runs as `grader`: neither
reads this folder, and neither touches the other's processes. On a machine without these users all is the author's.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = "/usr/local/bin:/usr/bin:/bin"


def account(name):
    """Give the user of that name where this process may act as one, else None (which means: as ourselves)."""
    import pwd

    try:
        return pwd.getpwnam(name) if os.geteuid() == 0 else None
    except KeyError:
        return None


class Workspaces:
    """A folder of working copies, each its session's own, made from one copy that no agent can change."""

    def __init__(self):
        self.agent = account("agent")
        self.root = None
        self._own = None

    async def open(self):
        """Make the folder, and the repository that working copies are made from."""
        import shutil
        import tempfile

        self._own = tempfile.mkdtemp(prefix="my-env-")
        os.chmod(self._own, 0o711)
        # The image names a folder with a short path; without one it is a temporary folder, gone with the server.
        self.root = os.environ.get("WORKSPACES") or os.path.join(self._own, "workspaces")
        os.makedirs(self.root, exist_ok=True)
        self._pristine = os.path.join(self._own, "repository")
        shutil.copytree(os.path.join(HERE, "repository"), self._pristine, ignore=shutil.ignore_patterns("__pycache__"))
        await run("chmod", "-R", "a+rX,go-w", self._pristine)
        if shutil.which("git") and not os.path.exists(os.path.join(self._pristine, ".git")):
            git = ("git", "-c", "user.name=my-env", "-c", "user.email=", "-c", "commit.gpgsign=false")
            for step in (["init", "-q", "-b", "main", "--template="], ["add", "-A"], ["commit", "-q", "-m", "Start"]):
                await run(*git, *step, cwd=self._pristine)

    def close(self):
        import shutil

        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    async def create(self):
        """Make a working copy that belongs to the agent and give its path."""
        import tempfile

        folder = tempfile.mkdtemp(prefix="run-", dir=self.root)
        if self.agent is not None:
            os.chown(folder, self.agent.pw_uid, self.agent.pw_gid)
        await run("cp", "-R", f"{self._pristine}/.", folder, user=self.agent)
        return folder

    async def remove(self, folder):
        """Remove a working copy, whatever the agent left in it."""
        import asyncio
        import shutil

        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


class Failed(Exception):
    """A program ended badly, said too much or took too long; the text says which."""


async def run(*command, cwd=None, user=None, stdin=b"", timeout_s=20, limit_bytes=16 * 1024 * 1024):
    """Run a program in a process group and an environment of its own and give its standard output.

    Raises:
        Failed: it ended with another code than 0, wrote more than `limit_bytes`, or ran longer than `timeout_s`.
    """
    import asyncio
    import signal
    from asyncio.subprocess import DEVNULL, PIPE

    identity = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={"PATH": os.environ.get("PATH", PATH), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        start_new_session=True,
        **identity,
    )

    async def feed():
        try:
            child.stdin.write(stdin)
            await child.stdin.drain()
        except ConnectionError:
            pass  # it ended without reading all: its exit code tells
        child.stdin.close()

    async def read():
        output = bytearray()
        while chunk := await child.stdout.read(65536):
            output += chunk
            if len(output) > limit_bytes:
                raise Failed(f"{command[0]} wrote more than {limit_bytes} bytes")
        return bytes(output)

    feeding = asyncio.create_task(feed())
    try:
        async with asyncio.timeout(timeout_s):
            output = await read()
            code = await child.wait()
    except TimeoutError:
        raise Failed(f"{os.path.basename(command[0])} took longer than {timeout_s} s") from None
    finally:
        feeding.cancel()
        try:
            os.killpg(child.pid, signal.SIGKILL)  # what it left running, too
        except ProcessLookupError:
            pass
        await child.wait()
    if code != 0:
        raise Failed(f"{os.path.basename(command[0])} ended with code {code}")
    return output


def python():
    """Give the command of an interpreter that takes nothing from its surroundings: no variables, no folder, no site."""
    return (sys.executable, "-I", "-B")
