"""A seccomp filter as the kernel wants it: a BPF program, assembled here, for x86_64 and aarch64.

It holds back what neither mount namespaces nor Landlock do: sockets of other kinds, io_uring, ptrace, keyrings, new
namespaces and mounts, pushing characters into a terminal. Everything else is allowed: what a compiler, git, node or a
test suite calls cannot be listed. A system call of another architecture kills the process; x32 numbers are refused.

Pure: `program()` computes bytes, nothing is loaded here. Fails with `UnknownMachine` on other machines.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from dataclasses import dataclass

_LD, _AND, _RET = 0x20, 0x54, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_RET|BPF_K
_JEQ, _JGE, _JSET = 0x15, 0x35, 0x45  # BPF_JMP with a constant

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # linux/seccomp.h

_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000

_NEW_NAMESPACE = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
_NEW_TIME = 0x80  # CLONE_NEWTIME, which clone itself cannot be asked for
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FAST_OPEN = 0x20000000  # MSG_FASTOPEN: connects without connect(), so that Landlock does not see it

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_SEQPACKET, _TCP, _ROUTE = 1, 5, 6, 0

# name: (x86_64, aarch64); None: not there. From the kernel's syscall tables.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # others' memory and descriptors
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # system calls past this filter
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # the daemon's user has one keyring
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    # large parts of the kernel that no build needs
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # the machine itself; these want privileges too
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
}

# Without namespaces of one's own: what belongs to all processes of the machine, or of the user.
_SHARED: dict[str, tuple[int, int]] = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semctl": (66, 191),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}

# These may be done to oneself: argument numbers, and the values they must have. (A limit of CPU time would end others.)
_ON_OTHERS: dict[str, tuple[tuple[int, int], dict[int, int]]] = {
    "prlimit64": ((302, 261), {0: 0}),
    "setpriority": ((141, 140), {0: 0, 1: 0}),  # PRIO_PROCESS
    "ioprio_set": ((251, 30), {0: 1, 1: 0}),  # IOPRIO_WHO_PROCESS
    "sched_setaffinity": ((203, 122), {0: 0}),
    "sched_setscheduler": ((144, 119), {0: 0}),
    "sched_setparam": ((142, 118), {0: 0}),
    "sched_setattr": ((314, 274), {0: 0}),
}

_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH
_CLONE, _CLONE3, _UNSHARE, _IOCTL = (56, 220), (435, 435), (272, 97), (16, 29)
_SOCKET, _SOCKETPAIR = (41, 198), (53, 199)
_SENDTO, _SENDMSG, _SENDMMSG = (44, 206), (46, 211), (307, 269)


class UnknownMachine(RuntimeError):  # noqa: N818 -- the name says what is the case
    """No filter is known for this kind of processor."""


@dataclass(frozen=True)
class Reach:
    """What the filter leaves, where it depends on the other walls.

    Netlink sockets are for routes and addresses only; no other family of sockets is let through. A `socketpair` of
    datagrams can be turned to any unix socket by its path, so it is held back with those; connected kinds cannot.
    """

    own_namespaces: bool  # else unix sockets, System V's memory and queues, and other processes' limits are outside's
    tcp: bool = True
    other_internet: bool = True  # UDP and whatever else Landlock does not see; fast open too


_Instruction = tuple[int, int, int, int]


@functools.cache
def program(reach: Reach, machine: str | None = None) -> bytes:
    """The filter, as an array of struct sock_filter. Raises UnknownMachine."""
    machine = machine or os.uname().machine
    if machine not in _ARCHES:
        raise UnknownMachine(f"no seccomp filter for {machine}: only for {', '.join(_ARCHES)}")
    column, arch = _ARCHES[machine]
    code = [_load(_ARCH), (_JEQ, 1, 0, arch), (_RET, 0, 0, _KILL), _load(_NUMBER)]
    if column == 0:
        code += [(_JGE, 0, 1, _X32), _refuse(errno.EPERM)]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            code += _when(number, [_refuse(errno.EPERM)])
    # glibc falls back to clone, whose flags can be looked at.
    code += _when(_CLONE3[column], [_refuse(errno.ENOSYS)])
    code += _when(_CLONE[column], _refuse_bits(0, _NEW_NAMESPACE))
    code += _when(_UNSHARE[column], _refuse_bits(0, _NEW_NAMESPACE | _NEW_TIME))
    code += _when(_IOCTL[column], _refuse_values(1, (_TIOCSTI, _TIOCLINUX)))
    code += _when(_SOCKET[column], _socket_rules(reach))
    if not reach.own_namespaces:
        kinds = [_load_argument(1), (_AND, 0, 0, 0xF), *_allow_words((_SOCK_STREAM, _SOCK_SEQPACKET))]
        code += _when(_SOCKETPAIR[column], kinds)
        for numbers in _SHARED.values():
            code += _when(numbers[column], [_refuse(errno.EPERM)])
        for numbers, expected in _ON_OTHERS.values():
            code += _when(numbers[column], _allow_these(expected))
    if not reach.other_internet:
        for numbers_of_send, argument in ((_SENDTO, 3), (_SENDMSG, 2), (_SENDMMSG, 3)):
            code += _when(numbers_of_send[column], _refuse_bits(argument, _FAST_OPEN))
    code.append((_RET, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *one) for one in code)


def _socket_rules(reach: Reach) -> list[_Instruction]:
    code = [_load_argument(0)]
    code += _when(_AF_NETLINK, _allow_values(2, (_ROUTE,)))
    if reach.own_namespaces:
        code += _when(_AF_UNIX, [(_RET, 0, 0, _ALLOW)])
    if reach.tcp:
        internet: list[_Instruction] = [(_RET, 0, 0, _ALLOW)]
        if not reach.other_internet:
            kind = [_load_argument(1), (_AND, 0, 0, 0xF), (_JEQ, 1, 0, _SOCK_STREAM), _refuse(errno.EPERM)]
            internet = [*kind, *_allow_values(2, (0, _TCP))]
        for family in (_AF_INET, _AF_INET6):
            code += _when(family, internet)
    return [*code, _refuse(errno.EAFNOSUPPORT)]


def _when(value: int, then: list[_Instruction]) -> list[_Instruction]:
    """Where the loaded word is `value`, go on with `then`, which ends in a return."""
    return [(_JEQ, 0, len(then), value), *then]


def _refuse_bits(argument: int, bits: int) -> list[_Instruction]:
    return [_load_argument(argument), (_JSET, 0, 1, bits), _refuse(errno.EPERM), (_RET, 0, 0, _ALLOW)]


def _refuse_values(argument: int, values: tuple[int, ...]) -> list[_Instruction]:
    code = [_load_argument(argument)]
    for value in values:
        code += _when(value, [_refuse(errno.EPERM)])
    return [*code, (_RET, 0, 0, _ALLOW)]


def _allow_values(argument: int, values: tuple[int, ...]) -> list[_Instruction]:
    return [_load_argument(argument), *_allow_words(values)]


def _allow_words(values: tuple[int, ...]) -> list[_Instruction]:
    code: list[_Instruction] = []
    for value in values:
        code += _when(value, [(_RET, 0, 0, _ALLOW)])
    return [*code, _refuse(errno.EPERM)]


def _allow_these(expected: dict[int, int]) -> list[_Instruction]:
    """All of these arguments as given; anything else is refused."""
    code: list[_Instruction] = []
    for argument, value in expected.items():
        code += [_load_argument(argument), (_JEQ, 1, 0, value), _refuse(errno.EPERM)]
    return [*code, (_RET, 0, 0, _ALLOW)]


def _load(offset: int) -> _Instruction:
    return (_LD, 0, 0, offset)


def _load_argument(number: int) -> _Instruction:
    """Its lower half: these are all 32 bits wide, and both machines are little-endian."""
    return _load(_ARGUMENTS + 8 * number)


def _refuse(number: int) -> _Instruction:
    return (_RET, 0, 0, _ERRNO | number)
