"""The gateway's process: started, found again, ended. What it is told goes through a pipe, never by argv or disk.

It is a session of its own, so that it outlives the daemon, in the daemon's own cgroup, with an environment built from
nothing. It is known by its command line and, where it is asked about, by the lock that it holds. Its end is seen
through a pidfd, whether it is our child or was taken over.

Fails with OSError where the machine refuses a process, a pipe or the look.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.gateway import GatewayOrder
from haikud.engine.gateway.sockets import Sockets
from haikud.engine.launchers.import_path import import_path
from haikud.sandbox.process_table import command_line, look_at_all
from haikud.spool.claims import Identity, boot_id, watch_identity
from haikud.spool.layout import SpoolLayout
from haikud.spool.log_lines import Dress

PROGRAM = ("-P", "-m", "haikud.gateway")
"""How it is started, without its arguments."""

PASSED_ON = (
    *("PATH", "HOME", "LANG"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""What it gets of the daemon's environment."""


@dataclass
class Process:
    """A gateway that we watch. `pidfd` is readable once it has ended."""

    pid: int
    pidfd: int
    child: subprocess.Popen[bytes] | None = None  # where it is ours

    def send(self, number: int) -> None:
        """A signal; nothing where it is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def let_go(self) -> None:
        """Watch it no longer; it runs on."""
        os.close(self.pidfd)
        if self.child is not None:
            self.child.returncode = self.child.returncode or 0  # Popen must not warn that nobody has waited

    def reap(self) -> str:
        """It has ended: how, in words."""
        child = self.child
        self.let_go()
        if child is None:
            return "it is gone"
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:
            return "it is gone"
        if not pid:
            return "it is gone"
        code = os.waitstatus_to_exitcode(status)
        return f"it died of signal {-code}" if code < 0 else f"it exited with {code}"


def start_process(
    layout: SpoolLayout,
    order: GatewayOrder,
    sockets: Sockets,
    host: Mapping[str, str],
    dress: Dress = Dress.PEOPLE,
) -> Process:
    """Start one on these sockets. `host`: the daemon's environment. Raises OSError."""
    read, write = os.pipe()
    try:
        os.set_blocking(write, False)
        data = order.model_dump_json().encode()
        if os.write(write, data) != len(data):  # some 2 KB, and a pipe holds 64 KiB
            msg = f"the gateway's order of {len(data)} bytes does not fit into a pipe"
            raise OSError(msg)
        messages, tcp = sockets.messages.fileno(), sockets.tcp.fileno()
        argv = [sys.executable, *PROGRAM, "--spool", str(layout.root), "--order-fd", str(read)]
        child = subprocess.Popen(
            [*argv, "--messages-fd", str(messages), "--tcp-fd", str(tcp), "--log", dress],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env=_environment(host),
            pass_fds=(read, messages, tcp),
            start_new_session=True,
        )
    finally:
        os.close(read)
        os.close(write)
    try:
        return Process(child.pid, os.pidfd_open(child.pid), child)
    except OSError:  # no descriptor is left to watch it by
        child.kill()
        child.wait()
        raise


def find_process(layout: SpoolLayout) -> Process | None:
    """The gateway of this spool that an earlier daemon has started; the one that holds the lock, where there are more.

    Raises OSError where the machine refuses to look.
    """
    arguments = [os.fsencode(part) for part in (*PROGRAM, "--spool", str(layout.root))]
    found = []
    for seen in look_at_all().values():
        if seen.alive and seen.pid == seen.session and _has(command_line(seen.pid), arguments):
            _, pidfd = watch_identity(Identity(seen.pid, seen.started, boot_id()))
            found += [Process(seen.pid, pidfd)] if pidfd is not None else []
    found.sort(key=lambda one: holds_lock(one.pid, layout.gateway.lock))
    for other in found[:-1]:
        other.let_go()
    return found[-1] if found else None


def holds_lock(pid: int, path: Path) -> bool:
    """Whether the kernel says that this process holds a flock on that file. It tells of processes that hide all else.

    The device is not compared: for some filesystems (btrfs, overlays) the kernel names another than stat does.
    """
    with suppress(OSError, ValueError):
        inode = path.lstat().st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            parts = line.split()
            if len(parts) > 5 and (parts[1], int(parts[4]), int(parts[5].rpartition(":")[2])) == ("FLOCK", pid, inode):
                return True
    return False


def _has(line: bytes, arguments: list[bytes]) -> bool:
    """Whether that command line is one of ours: these arguments, right after the interpreter's name."""
    return line.split(b"\0")[1 : len(arguments) + 1] == arguments


def _environment(host: Mapping[str, str]) -> dict[str, str]:
    fallback = {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    return fallback | {name: host[name] for name in PASSED_ON if name in host} | import_path()
