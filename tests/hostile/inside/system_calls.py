"""System calls that Python has no name for. Runs inside: standard library only."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

_NUMBERS = {
    "x86_64": {
        "ptrace": 101, "shmget": 29, "shmat": 30, "mount": 165, "unshare": 272, "bpf": 321, "perf_event_open": 298,
        "add_key": 248, "request_key": 249, "keyctl": 250, "userfaultfd": 323, "io_uring_setup": 425,
        "open_by_handle_at": 304, "process_vm_readv": 310, "pidfd_getfd": 438, "init_module": 175, "clone3": 435,
        "sethostname": 170, "setns": 308, "name_to_handle_at": 303, "kexec_load": 246, "quotactl": 179,
    },
    "aarch64": {
        "ptrace": 117, "shmget": 194, "shmat": 196, "mount": 40, "unshare": 97, "bpf": 280, "perf_event_open": 241,
        "add_key": 217, "request_key": 218, "keyctl": 219, "userfaultfd": 282, "io_uring_setup": 425,
        "open_by_handle_at": 265, "process_vm_readv": 270, "pidfd_getfd": 438, "init_module": 105, "clone3": 435,
        "sethostname": 161, "setns": 268, "name_to_handle_at": 264, "kexec_load": 104, "quotactl": 60,
    },
}  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(name: str, *arguments: Any) -> int:
    """The call's result; OSError with its errno."""
    number = _NUMBERS[platform.machine()][name]
    made = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *made))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result
