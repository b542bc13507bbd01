"""A shell for the agent: OpenSSH's server on loopback, with keys made for this one serving."""

import logging
import os

from workspace import PATH, account

log = logging.getLogger("my-env")

CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
AllowUsers {user}
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
PrintMotd no
X11Forwarding no
LogLevel FATAL
MaxStartups 100
MaxSessions 64
SetEnv PATH={path} LANG=C.UTF-8
Subsystem sftp internal-sftp
"""


class Shell:
    """A running sshd: `capability` is what to publish."""

    def __init__(self):
        self.capability = None
        self._daemon = None
        self._folder = None

    async def open(self, cwd):
        """Start sshd for the user `agent`, or for the author where there is none; without sshd, warn and go on.

        Raises:
            RuntimeError: sshd does not answer within 10 s.
        """
        import pwd
        import shutil
        import tempfile

        from hud.capabilities import Capability

        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', PATH)}:/usr/local/sbin:/usr/sbin")
        if sshd is None or shutil.which("ssh-keygen") is None:
            log.warning(
                "no sshd on this machine: tasks are served without the shell capability (apt install openssh-server)"
            )
            return
        user = account("agent")
        if user is None:
            user = pwd.getpwuid(os.geteuid())
            log.warning("no user 'agent' to act as: the agent's shell and its code run as %r", user.pw_name)
        self._folder = folder = tempfile.mkdtemp(prefix="my-env-sshd-")
        os.chmod(folder, 0o711)  # sshd reads the authorised keys as the user who logs in
        for name in ("host", "client"):
            path = os.path.join(folder, name)
            if not await ends_well("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "my-env", "-f", path):
                raise RuntimeError(f"ssh-keygen makes no key in {folder}")
        os.rename(f"{folder}/client.pub", f"{folder}/authorized")
        os.chmod(f"{folder}/authorized", 0o644)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd refuses to start as root without it
        port = await self._start(sshd, user.pw_name)
        self.capability = Capability.ssh(
            url=f"ssh://127.0.0.1:{port}",
            user=user.pw_name,
            host_pubkey=read(f"{folder}/host.pub").strip(),
            client_key=read(f"{folder}/client"),
            shell="bash",
            cwd=cwd,
            isolation="none",
        )

    async def _start(self, sshd, user):
        import asyncio
        import shutil
        from asyncio.subprocess import DEVNULL

        # From 9.8 on sshd locks out addresses that connect without logging in, and here all come from loopback.
        lenient = ("-o", "PerSourcePenalties=no")
        if not await ends_well(sshd, "-T", *lenient, "-f", os.devnull, "-h", f"{self._folder}/host"):
            lenient = ()
        # Where Linux's setpriv is: a server that is killed takes sshd with it.
        bound = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        for _ in range(3):  # another program may take a free port before sshd does
            port = free_port()
            with open(f"{self._folder}/config", "w") as file:
                file.write(CONFIG.format(port=port, folder=self._folder, user=user, path=PATH))
            self._daemon = await asyncio.create_subprocess_exec(
                *bound, sshd, "-D", "-e", "-f", f"{self._folder}/config", *lenient, stdin=DEVNULL, stdout=DEVNULL
            )
            for _ in range(200):
                if self._daemon.returncode is not None:
                    break
                if await answers(port):
                    return port
                await asyncio.sleep(0.05)
            else:
                break  # it lives and says nothing: another port would not help
        raise RuntimeError("sshd does not answer on loopback; its own words are above")

    async def close(self):
        """Stop sshd and every session of it."""
        import shutil
        import signal

        if self._daemon is not None and self._daemon.returncode is None:
            # A session outlives the daemon, and each runs in a process group of its own.
            for pid in [self._daemon.pid, *descendants(self._daemon.pid)]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            await self._daemon.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


async def ends_well(*command):
    """Run a program without input or output and say whether its exit code is 0."""
    import asyncio
    from asyncio.subprocess import DEVNULL

    child = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    return await child.wait() == 0


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def answers(port):
    """Say whether an SSH server greets on that port."""
    import asyncio

    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        return (await reader.read(4)).startswith(b"SSH")
    except OSError:
        return False
    finally:
        writer.close()


def descendants(pid):
    """Give the processes below one, as Linux tells them; none elsewhere."""
    parents = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass  # it has ended
    found = [pid]
    for known in found:  # grows as it is walked
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]
