"""The kernel's side of the crash walk: a seccomp filter that names the calls, and ptrace that stops before them.

Every process and thread that descends from the one that was started is followed. Only calls that can change a file,
lock one, start a process or signal one stop; all others run at full speed. A call that stops has not happened yet: if
its process is killed there, it never does. `strace -e inject` does nearly that, but counts per thread and per name,
and cannot tell a path beneath the spool from a temporary file of somebody else's.

Linux on x86_64 and aarch64, as root (haikud's processes are undumpable). Fails with OSError.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

_X86 = {
    "open": 2,
    "creat": 85,
    "openat": 257,
    "openat2": 437,
    "write": 1,
    "pwrite64": 18,
    "writev": 20,
    "pwritev": 296,
    "pwritev2": 328,
    "copy_file_range": 326,
    "sendfile": 40,
    "rename": 82,
    "renameat": 264,
    "renameat2": 316,
    "link": 86,
    "linkat": 265,
    "symlink": 88,
    "symlinkat": 266,
    "unlink": 87,
    "unlinkat": 263,
    "mkdir": 83,
    "mkdirat": 258,
    "rmdir": 84,
    "mknod": 133,
    "mknodat": 259,
    "truncate": 76,
    "ftruncate": 77,
    "fallocate": 285,
    "fsync": 74,
    "fdatasync": 75,
    "syncfs": 306,
    "chmod": 90,
    "fchmod": 91,
    "fchmodat": 268,
    "flock": 73,
    "fork": 57,
    "vfork": 58,
    "clone": 56,
    "pidfd_send_signal": 424,
}

_ARM = {
    "openat": 56,
    "openat2": 437,
    "write": 64,
    "pwrite64": 68,
    "writev": 66,
    "pwritev": 70,
    "pwritev2": 287,
    "copy_file_range": 285,
    "sendfile": 71,
    "renameat": 38,
    "renameat2": 276,
    "linkat": 37,
    "symlinkat": 36,
    "unlinkat": 35,
    "mkdirat": 34,
    "mknodat": 33,
    "truncate": 45,
    "ftruncate": 46,
    "fallocate": 47,
    "fsync": 82,
    "fdatasync": 83,
    "syncfs": 267,
    "fchmod": 52,
    "fchmodat": 53,
    "flock": 32,
    "clone": 220,
    "pidfd_send_signal": 424,
}

_ARCHITECTURES = {"x86_64": (0xC000003E, _X86), "aarch64": (0xC00000B7, _ARM)}

AT_FDCWD = -100
WALL = 0x40000000  # waitpid: threads and processes that are not our children by fork, too

_CLONE_THREAD = 0x10000
_CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_LOAD, _EQUAL, _ANY_BIT, _RETURN, _AT_LEAST = 0x20, 0x15, 0x45, 0x06, 0x35

_SEIZE, _CONT, _LISTEN, _GETEVENTMSG, _PEEK, _SYSCALL_INFO = 0x4206, 7, 0x4208, 0x4201, 2, 0x420E
_OPTIONS = 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000  # fork, vfork, clone, exec, seccomp, exitkill

EVENT_FORKS = frozenset({1, 2, 3})
EVENT_EXEC = 4
EVENT_SECCOMP = 7
EVENT_STOP = 128

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class CannotTrace(RuntimeError):  # noqa: N818 - reads as what it is
    """This machine or user cannot follow processes this way; the message says why."""


def can_trace() -> str | None:
    """Why not; None where it can be tried."""
    if platform.machine() not in _ARCHITECTURES:
        return f"system call numbers of {platform.machine()} are not known"
    if os.geteuid() != 0:
        return "only root may look into undumpable processes"
    return None


@dataclass(frozen=True)
class RawCall:
    """A system call that is about to happen."""

    name: str
    args: tuple[int, ...]


def _names() -> tuple[int, dict[str, int]]:
    try:
        return _ARCHITECTURES[platform.machine()]
    except KeyError:
        raise CannotTrace(f"system call numbers of {platform.machine()} are not known") from None


def _filter() -> list[tuple[int, int, int, int]]:
    """The BPF program: code, jump if true, jump if false, constant."""
    arch, numbers = _names()
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    for name, number in numbers.items():
        match name:
            case "open":
                body = _when_any_bit(1, _CHANGING_FLAGS)
            case "openat":
                body = _when_any_bit(2, _CHANGING_FLAGS)
            case "clone":  # not of threads
                body = [(_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, _CLONE_THREAD), *_answer(_ALLOW), *_answer(_TRACE)]
            case "write" | "writev":  # not to stdin, stdout, stderr
                body = [(_LOAD, 0, 0, 16), (_AT_LEAST, 1, 0, 3), *_answer(_ALLOW), *_answer(_TRACE)]
            case _:
                body = _answer(_TRACE)
        program += [(_EQUAL, 0, len(body), number), *body]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _answer(what: int) -> list[tuple[int, int, int, int]]:
    return [(_RETURN, 0, 0, what)]


def _when_any_bit(argument: int, bits: int) -> list[tuple[int, int, int, int]]:
    return [(_LOAD, 0, 0, 16 + 8 * argument), (_ANY_BIT, 0, 1, bits), *_answer(_TRACE), *_answer(_ALLOW)]


def start_traced(argv: list[str]) -> int:
    """Start a program with all its future children followed; its pid."""
    program = b"".join(struct.pack("HBBI", *line) for line in _filter())
    lines = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(lines)))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        try:
            os.read(read, 1)  # until we are followed
            _prctl(_PR_SET_NO_NEW_PRIVS, 1)
            _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(head))
            os.execvp(argv[0], argv)  # noqa: S606 - that is what we are for
        finally:
            os._exit(127)
    _ptrace(_SEIZE, pid, 0, _OPTIONS)
    os.write(write, b"x")
    os.close(read)
    os.close(write)
    return pid


def go_on(tid: int, signal: int = 0) -> None:
    """Let a stopped thread go on, with a signal that it was about to get."""
    _ptrace(_CONT, tid, 0, signal)


def stay_stopped(tid: int) -> None:
    """A job-control stop: it lasts until SIGCONT."""
    _ptrace(_LISTEN, tid)


def new_child(tid: int) -> int:
    """At a fork event: the new thread or process."""
    message = ctypes.c_ulong()
    _ptrace(_GETEVENTMSG, tid, 0, ctypes.addressof(message))
    return message.value


def call_at_stop(tid: int) -> RawCall:
    """At a seccomp event: the call that is about to happen."""
    buffer = ctypes.create_string_buffer(128)
    _ptrace(_SYSCALL_INFO, tid, len(buffer), ctypes.addressof(buffer))
    number, *args = struct.unpack_from("7Q", buffer.raw, 24)
    name = {value: key for key, value in _names()[1].items()}.get(number, str(number))
    return RawCall(name, tuple(args))


def text_at(tid: int, address: int) -> str:
    """A C string of a stopped thread's memory."""
    found = b""
    while len(found) < 8192:
        ctypes.set_errno(0)
        word = int(_libc.ptrace(_PEEK, tid, address + len(found), 0))
        if ctypes.get_errno():
            break
        part = (word & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
        end = part.find(b"\0")
        if end >= 0:
            found += part[:end]
            break
        found += part
    return os.fsdecode(found)


def as_signed(value: int) -> int:
    """A descriptor: 32 bits, signed."""
    return ctypes.c_int(value & 0xFFFFFFFF).value


def _ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> int:
    done = int(_libc.ptrace(request, tid, address, data))
    if done == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x} {tid}: {os.strerror(number)}")
    return done


def _prctl(*args: int) -> None:
    if _libc.prctl(*(ctypes.c_ulong(arg) for arg in args), *(ctypes.c_ulong(0) for _ in range(5 - len(args)))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {args}: {os.strerror(number)}")
