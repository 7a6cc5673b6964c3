"""What each mode keeps from a command, and what it does not: the matrix that SECURITY.md publishes.

Pure. The tests try each line in each mode, and fail where the matrix promises more, or less, than is so.
"""

from __future__ import annotations

from haikud.sandbox.landlock import NET_ABI, SCOPE_ABI

PROTECTIONS = {
    "read": "reading files that are not named: the spool, the home folder, other worktrees, keys",
    "write": "writing, creating or removing anything outside the writable folders",
    "truncate": "emptying files outside the writable folders",
    "names": "learning that a file or folder outside exists, and its size and times (stat)",
    "processes": "seeing other processes' names and command lines in /proc",
    "memory": "reading other processes' environment and memory, or tracing them",
    "signals": "ending or stopping processes outside",
    "unix-sockets": "talking to sockets of the machine by their path: Docker, D-Bus, ssh-agent",
    "abstract-sockets": "talking to sockets of the machine by an abstract name",
    "tcp-hosts": "TCP to hosts that are not listed",
    "tcp-ports": "TCP to ports other than the gateway's and the proxy's",
    "udp": "UDP, and with it DNS",
    "listening": "listening on the machine's own addresses",
    "keyrings": "the kernel's keyrings",
    "namespaces": "making namespaces and mounts, io_uring, bpf, ptrace",
    "temporary": "other programs' files in /tmp: the command has a /tmp of its own, or none",
    "ipc": "System V and POSIX message queues and shared memory of other programs",
    "left-behind": "processes that outlive the command",
    "file-bytes": "files larger than the settings allow",
    "privileges": "gaining privileges by setuid programs, and root's capabilities",
}
"""What may be held, by a short name."""


def holds(mode: str, abi: int = 7, network: str = "listed") -> dict[str, bool]:
    """For each of PROTECTIONS whether that mode holds it. `abi`: Landlock's, of this kernel (landlock_abi)."""
    if mode == "bwrap":
        closed = network != "open"
        of_network = ("abstract-sockets", "tcp-hosts", "tcp-ports", "udp", "listening")
        return dict.fromkeys(PROTECTIONS, True) | dict.fromkeys(of_network, closed)
    if mode == "landlock" and abi >= 1:
        return dict.fromkeys(PROTECTIONS, True) | {
            "truncate": abi >= 3,
            "names": False,
            "processes": False,
            "signals": abi >= SCOPE_ABI,
            # No unix sockets can be made at all, so there is nothing to reach by either kind of name.
            # Landlock knows ports and not addresses: another host can be reached at the proxy's port number.
            "tcp-hosts": network == "off",
            "tcp-ports": network != "open",  # before NET_ABI there is no TCP at all then
            "udp": network != "open",
            "listening": network != "open",
            "ipc": False,
            "left-behind": True,
        }
    return dict.fromkeys(PROTECTIONS, False) | {"left-behind": True}


def has_tcp(abi: int, network: str) -> bool:
    """Whether commands in mode landlock have TCP: where it cannot be held to ports, there is none unless it is open."""
    return network == "open" or abi >= NET_ABI
