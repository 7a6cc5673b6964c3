"""Attempts on other processes: look into them, stop them, hinder them; and stay when all should have ended."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import time
from pathlib import Path

from tests.hostile.inside.registry import Place, Row
from tests.hostile.inside.system_calls import call

look = Row("memory")
YAMA = "kernel.yama.ptrace_scope, where we are not root"


@look(steals="environment")
def read_the_environment_of_another(place: Place) -> bytes:
    return Path(f"/proc/{place.pids['holder']}/environ").read_bytes()


@look(steals="environment")
def read_the_environment_of_all(_place: Place) -> bytes:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((folder / "environ").read_bytes())
            except OSError:
                continue
    return b"".join(part for part in found if b"STOLEN" in part)


def start_of_environment(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[47])


@look(steals="environment", doubtful=YAMA)
def read_the_memory_of_another(place: Place) -> bytes:
    pid = place.pids["holder"]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(place.values["environment_at"])
        return memory.read(4096)


class Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@look(steals="environment", doubtful=YAMA)
def process_vm_readv_of_another(place: Place) -> bytes:
    kept = ctypes.create_string_buffer(4096)
    local = Span(ctypes.addressof(kept), 4096)
    remote = Span(place.values["environment_at"], 4096)
    end = place.values["environment_at"] // 4096 * 4096 + 4096
    remote.length = local.length = end - place.values["environment_at"]
    call("process_vm_readv", place.pids["holder"], ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return kept.raw


@look(steals="open", doubtful=YAMA)
def pidfd_getfd_of_another(place: Place) -> bytes:
    pidfd = os.pidfd_open(place.pids["holder"])
    taken = call("pidfd_getfd", pidfd, place.values["held_fd"], 0)
    return os.pread(taken, 4096, 0)


PTRACE_ATTACH, PTRACE_DETACH = 16, 17


@look(doubtful=YAMA)
def ptrace_another(place: Place) -> bool:
    pid = place.pids["traced"]
    call("ptrace", PTRACE_ATTACH, pid, 0, 0)
    os.waitpid(pid, 0x40000000)  # __WALL
    call("ptrace", PTRACE_DETACH, pid, 0, 0)
    return True


listing = Row("processes")


@listing(steals="command line")
def read_command_lines(_place: Place) -> bytes:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((folder / "cmdline").read_bytes())
            except OSError:
                continue
    return b"\n".join(part for part in found if b"STOLEN" in part)


end = Row("signals")


@end(harms="killed")
def kill_another(place: Place) -> None:
    os.kill(place.pids["killed"], signal.SIGKILL)


@end(harms="pidfd")
def kill_another_by_pidfd(place: Place) -> None:
    signal.pidfd_send_signal(os.pidfd_open(place.pids["pidfd"]), signal.SIGKILL)


@end(harms="group")
def kill_another_group(place: Place) -> None:
    os.killpg(place.pids["group"], signal.SIGKILL)


@end(harms="owner")
def have_the_kernel_signal_another(place: Place) -> None:
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, place.pids["owner"])
    fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(write, b"x")  # SIGIO ends who does not expect it
    time.sleep(0.05)


@end(harms="stopped")
def stop_another(place: Place) -> None:
    os.kill(place.pids["stopped"], signal.SIGSTOP)


hinder = Row("priorities")


@hinder(harms="limits")
def lower_the_limits_of_another(place: Place) -> None:
    pid = place.pids["limits"]
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, hard))


@hinder(harms="priority")
def change_the_priority_of_another(place: Place) -> None:
    os.setpriority(os.PRIO_PROCESS, place.pids["priority"], 15)


@hinder(harms="cpus", doubtful="a machine with one CPU")
def change_the_cpus_of_another(place: Place) -> None:
    pid = place.pids["cpus"]
    os.sched_setaffinity(pid, [min(os.sched_getaffinity(pid))])


@hinder()
def have_another_killed_first(place: Place) -> bool:
    Path(f"/proc/{place.pids['holder']}/oom_score_adj").write_text("1000")
    return True


stay = Row("left-behind")


def leave(place: Place, name: str) -> None:
    """Become a process that is found by its name alone."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, 256)
    os.execve("/bin/sleep", [f"haikud-hostile-{place.token}-{name}", "600"], {})  # noqa: S606 -- this is what it is about


@stay(survives=True)
def double_fork_with_a_cleared_environment(place: Place) -> None:
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    leave(place, "double_fork_with_a_cleared_environment")


@stay(survives=True)
def ignore_every_signal(place: Place) -> None:
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    leave(place, "ignore_every_signal")


PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG = 36, 1


@stay(survives=True)
def be_a_subreaper(place: Place) -> None:
    from tests.hostile.inside.system_calls import libc

    if os.fork():
        return
    os.setsid()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.fork() == 0:
        os.setsid()
        leave(place, "be_a_subreaper")
    time.sleep(0.02)
    os._exit(0)


@stay(survives=True, doubtful="a look in the right moment: even without walls whoever is seen is ended")
def fork_on_and_on(place: Place) -> None:
    """A process that is somebody else every few milliseconds, for a while: hard to catch by looking."""
    if os.fork():
        return
    os.setsid()
    for _ in range(40):
        if os.fork():
            os._exit(0)
        time.sleep(0.005)
    leave(place, "fork_on_and_on")
