"""The filter's decisions, by running its program as the kernel would: for both machines, on any."""

from __future__ import annotations

import errno
import struct

import pytest

from haikud.sandbox.seccomp import Reach, UnknownMachine, program

X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
ALLOW, KILL = "allow", "kill"
OPEN = Reach(own_namespaces=True)
NARROW = Reach(own_namespaces=False, other_internet=False)
NO_TCP = Reach(own_namespaces=False, tcp=False, other_internet=False)


def decide(code: bytes, arch: int, number: int, *arguments: int) -> str:
    """What a call meets: a small machine for the instructions that the filter uses."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, arch, 0, *padded)
    at, word = 0, 0
    while True:
        operation, yes, no, constant = struct.unpack_from("<HBBI", code, 8 * at)
        at += 1
        if operation == 0x20:
            word = struct.unpack_from("<I", data, constant)[0]
        elif operation == 0x54:
            word &= constant
        elif operation == 0x06:
            break
        else:
            holds = {0x15: word == constant, 0x35: word >= constant, 0x45: bool(word & constant)}[operation]
            at += yes if holds else no
    if constant == 0x7FFF0000:
        return ALLOW
    return KILL if constant == 0x80000000 else errno.errorcode[constant & 0xFFFF]


# name, (x86_64, aarch64), arguments, then what OPEN, NARROW and NO_TCP say
CALLS = [
    ("read", (0, 63), (), ALLOW, ALLOW, ALLOW),
    ("execve", (59, 221), (), ALLOW, ALLOW, ALLOW),
    ("ptrace", (101, 117), (), "EPERM", "EPERM", "EPERM"),
    ("io_uring_setup", (425, 425), (), "EPERM", "EPERM", "EPERM"),
    ("keyctl", (250, 219), (), "EPERM", "EPERM", "EPERM"),
    ("mount", (165, 40), (), "EPERM", "EPERM", "EPERM"),
    ("clone of a thread", (56, 220), (0x3D0F00,), ALLOW, ALLOW, ALLOW),
    ("clone with a user namespace", (56, 220), (0x10000011,), "EPERM", "EPERM", "EPERM"),
    ("clone3", (435, 435), (), "ENOSYS", "ENOSYS", "ENOSYS"),
    ("unshare of files", (272, 97), (0x400,), ALLOW, ALLOW, ALLOW),
    ("unshare of the network", (272, 97), (0x40000000,), "EPERM", "EPERM", "EPERM"),
    ("ioctl TCGETS", (16, 29), (0, 0x5401), ALLOW, ALLOW, ALLOW),
    ("ioctl TIOCSTI", (16, 29), (0, 0x5412), "EPERM", "EPERM", "EPERM"),
    ("ioctl TIOCSTI with a high half", (16, 29), (0, 0x1_0000_5412), "EPERM", "EPERM", "EPERM"),
    ("socket unix", (41, 198), (1, 1), ALLOW, "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socketpair", (53, 199), (1, 1), ALLOW, ALLOW, ALLOW),
    ("socketpair of packets, close on exec", (53, 199), (1, 0x80005), ALLOW, ALLOW, ALLOW),
    ("socketpair of datagrams", (53, 199), (1, 2), ALLOW, "EPERM", "EPERM"),
    ("socketpair of datagrams, close on exec", (53, 199), (1, 0x80002), ALLOW, "EPERM", "EPERM"),
    ("socketpair raw, which is one of datagrams", (53, 199), (1, 3), ALLOW, "EPERM", "EPERM"),
    ("socket tcp", (41, 198), (2, 1, 0), ALLOW, ALLOW, "EAFNOSUPPORT"),
    ("socket tcp, close on exec", (41, 198), (10, 0x80801, 6), ALLOW, ALLOW, "EAFNOSUPPORT"),
    ("socket udp", (41, 198), (2, 2, 0), ALLOW, "EPERM", "EAFNOSUPPORT"),
    ("socket mptcp", (41, 198), (2, 1, 262), ALLOW, "EPERM", "EAFNOSUPPORT"),
    ("socket raw", (41, 198), (2, 3, 1), ALLOW, "EPERM", "EAFNOSUPPORT"),
    ("socket netlink route", (41, 198), (16, 3, 0), ALLOW, ALLOW, ALLOW),
    ("socket netlink audit", (41, 198), (16, 3, 9), "EPERM", "EPERM", "EPERM"),
    ("socket vsock", (41, 198), (40, 1), "EAFNOSUPPORT", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket packet", (41, 198), (17, 3), "EAFNOSUPPORT", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("shmget", (29, 194), (), ALLOW, "EPERM", "EPERM"),
    ("mq_open", (240, 180), (), ALLOW, "EPERM", "EPERM"),
    ("prlimit64 of oneself", (302, 261), (0, 7), ALLOW, ALLOW, ALLOW),
    ("prlimit64 of another", (302, 261), (4711, 0), ALLOW, "EPERM", "EPERM"),
    ("setpriority of oneself", (141, 140), (0, 0, 5), ALLOW, ALLOW, ALLOW),
    ("setpriority of the user's", (141, 140), (2, 0, 5), ALLOW, "EPERM", "EPERM"),
    ("sched_setaffinity of another", (203, 122), (4711,), ALLOW, "EPERM", "EPERM"),
    ("sendto", (44, 206), (3, 0, 1, 0x4000), ALLOW, ALLOW, ALLOW),
    ("sendto fast open", (44, 206), (3, 0, 1, 0x20000000), ALLOW, "EPERM", "EPERM"),
    ("sendmsg fast open", (46, 211), (3, 0, 0x20000000), ALLOW, "EPERM", "EPERM"),
    ("sendmmsg fast open", (307, 269), (3, 0, 1, 0x20000000), ALLOW, "EPERM", "EPERM"),
]


@pytest.mark.parametrize(("column", "machine", "arch"), [(0, "x86_64", X86_64), (1, "aarch64", AARCH64)])
def test_each_call_meets_what_it_should(column: int, machine: str, arch: int):
    for position, reach in enumerate((OPEN, NARROW, NO_TCP)):
        code = program(reach, machine)
        assert len(code) % 8 == 0
        assert len(code) // 8 <= 4096  # BPF_MAXINSNS
        for name, numbers, arguments, *expected in CALLS:
            assert decide(code, arch, numbers[column], *arguments) == expected[position], (name, reach)


def test_other_architectures_are_killed_and_x32_is_refused():
    code = program(OPEN, "x86_64")
    assert decide(code, I386, 3) == KILL
    assert decide(code, AARCH64, 63) == KILL
    assert decide(code, X86_64, 0x40000000 | 41, 1, 1) == "EPERM"
    assert decide(program(OPEN, "aarch64"), X86_64, 0) == KILL


def test_a_machine_without_a_filter_is_an_error():
    with pytest.raises(UnknownMachine, match="riscv64"):
        program(OPEN, "riscv64")
