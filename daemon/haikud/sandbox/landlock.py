"""Landlock and a seccomp filter around the calling process and all that it will start: `enclose`. For ever.

Calls the kernel by ctypes (Python has no calls for this); the numbers are the same on every machine. Best effort down
to ABI 1 (Linux 5.13): what an older kernel cannot hold is left out here, and `holds` in matrix.py says so. Once the
rules are made, everything that cannot be put up is an error: nothing runs half enclosed.
"""

from __future__ import annotations

import ctypes
import os
import stat

TYPE_CHECKING = False  # typing's own costs every command its import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_RULE_PATH, _RULE_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_OF_ABI_1 = (1 << 13) - 1
_CONNECT_TCP, _BIND_TCP = 2, 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_NEWEST = 7

NET_ABI, IOCTL_ABI, SCOPE_ABI = 4, 5, 6
"""From which ABI on TCP, ioctl on devices, and abstract sockets and signals are held."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 38, 22, 24, 47
_SECCOMP_MODE_FILTER, _CLEAR_ALL = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522

READ, WRITE, LIST, DEVICE = "read", "write", "list", "device"
"""What may be done at and beneath a place: read and execute; anything; list folders only; use a device."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _PortRule(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def landlock_abi() -> int:
    """What this kernel offers; 0 where it has no Landlock, or where it is switched off or forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))))


def enclose(orders: Mapping[str, Any]) -> None:
    """Put up the walls. Raises OSError.

    `places`: pairs of a path and what may be done there; missing ones are skipped. `ports`: the only TCP ports that may
    be connected to, or None where TCP is not held. `filter`: a seccomp program. `abi`, if there: no more than a kernel
    of that ABI would hold.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities(libc)
    abi = min(landlock_abi(), orders.get("abi", _NEWEST))
    if abi < 1:
        raise OSError("this kernel has no Landlock")
    ruleset = _create(libc, abi, orders["ports"] is not None)
    try:
        _allow_places(libc, ruleset, abi, orders["places"])
        if orders["ports"] is not None and abi >= NET_ABI:
            for port in orders["ports"]:
                rule = _PortRule(_CONNECT_TCP, port)
                _call(libc, _ADD, ruleset, _RULE_PORT, ctypes.byref(rule), 0)
        _call(libc, _RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    program = orders["filter"]
    loaded = _Program(len(program) // 8, program)
    _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(loaded))


def _create(libc: ctypes.CDLL, abi: int, hold_tcp: bool) -> int:
    ruleset = _Ruleset(_all_rights(abi), 0, 0)
    size = 8
    if abi >= NET_ABI:
        size = 16
        ruleset.net = (_CONNECT_TCP | _BIND_TCP) if hold_tcp else 0
    if abi >= SCOPE_ABI:
        size = 24
        ruleset.scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS
    return _call(libc, _CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)


def _all_rights(abi: int) -> int:
    rights = _ALL_OF_ABI_1
    for since, right in ((2, _REFER), (3, _TRUNCATE), (IOCTL_ABI, _IOCTL_DEV)):
        if abi >= since:
            rights |= right
    return rights


def _allow_places(libc: ctypes.CDLL, ruleset: int, abi: int, places: Iterable[tuple[str, str]]) -> None:
    everything = _all_rights(abi)
    rights = {
        READ: _EXECUTE | _READ_FILE | _READ_DIR,
        WRITE: everything & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV),
        LIST: _READ_DIR,
        DEVICE: everything & (_READ_FILE | _WRITE_FILE | _IOCTL_DEV),
    }
    for path, what in places:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError, OSError):
            continue  # what we cannot reach, a command cannot reach either
        try:
            allowed = rights[what]
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                allowed &= _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
            rule = _PathRule(allowed, place)
            if allowed:
                _call(libc, _ADD, ruleset, _RULE_PATH, ctypes.byref(rule), 0)
        finally:
            os.close(place)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root without them is a user who happens to own root's files. Somebody else has none to lose."""
    last = 63
    for number in range(last + 1):
        if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) != 0:
            break  # no such capability, or not ours to drop
    libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_CLEAR_ALL), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise _error("capset")


def _prctl(libc: ctypes.CDLL, option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(ctypes.c_int(option), *padded) != 0:
        raise _error(f"prctl({option})")


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    answer = int(libc.syscall(number, *arguments))
    if answer < 0:
        raise _error({_CREATE: "landlock_create_ruleset", _ADD: "landlock_add_rule"}.get(number, "landlock_restrict"))
    return answer


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
