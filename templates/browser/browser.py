"""A headless Chromium, driven through the Chrome DevTools Protocol."""

import logging
import os

log = logging.getLogger("my-env")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",  # a free one, which it writes to DevToolsActivePort
    "--remote-debugging-address=127.0.0.1",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",  # a container has 64 MB there, too little for a page
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
    "--window-size=1280,800",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the site of the tasks and nothing else
)


class Browser:
    """A running browser: `capability` is what to publish."""

    def __init__(self):
        self.capability = None
        self._process = None
        self._profile = None

    async def open(self):
        """Start the browser; without one on this machine, warn and go on.

        Raises:
            RuntimeError: it ends, or does not open its port within 60 s.
        """
        import asyncio
        import shutil
        import tempfile
        from asyncio.subprocess import DEVNULL

        from hud.capabilities import Capability

        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            log.warning(
                "no Chromium on this machine: tasks are served without the browser capability (apt install chromium)"
            )
            return
        self._profile = tempfile.mkdtemp(prefix="my-env-browser-")
        # Chromium's own sandbox makes namespaces, which a container's default profile and root do not allow.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 or os.environ.get("BROWSER_SANDBOX") == "off" else []
        # Where Linux's setpriv is: a server that is killed takes the browser with it.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._process = await asyncio.create_subprocess_exec(
            *bound,
            program,
            *FLAGS,
            *sandbox,
            f"--user-data-dir={self._profile}",
            "about:blank",
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
        )
        for _ in range(600):
            if self._process.returncode is not None:
                raise RuntimeError(f"{program} ended with code {self._process.returncode}")
            if port_and_path := active_port(self._profile):
                break
            await asyncio.sleep(0.1)
        else:
            raise RuntimeError(f"{program} did not open its port within 60 s")
        port, path = port_and_path
        self.capability = Capability.cdp(url=f"ws://127.0.0.1:{port}{path}")

    def remark(self):
        """Give what a prompt must add about the browser: nothing when it runs.

        Raises:
            RuntimeError: it ran and has ended; a task that needs it would be graded unfairly.
        """
        if self._process is None:
            return "\n\nNo browser comes with this environment here: use one of your own on the same machine."
        if self._process.returncode is not None:
            raise RuntimeError(f"the browser has ended with code {self._process.returncode}")
        return ""

    async def close(self):
        """Stop the browser and all its processes, and remove its profile."""
        import asyncio
        import shutil
        import signal

        if self._process is not None:
            try:
                if self._process.returncode is None:
                    self._process.terminate()
                    await asyncio.wait_for(self._process.wait(), timeout=3)
            except TimeoutError:
                pass
            finally:
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                await self._process.wait()
        if self._profile is not None:
            shutil.rmtree(self._profile, ignore_errors=True)


def active_port(profile):
    """Give the port and path that Chromium writes when it listens, or None before that."""
    try:
        with open(os.path.join(profile, "DevToolsActivePort")) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    return (int(lines[0]), lines[1]) if len(lines) == 2 else None
