"""What each mode keeps from a command, and what it does not: the matrix that SECURITY.md publishes.

Pure. The tests try each line in each mode, and fail where the matrix promises more, or less, than is so.
"""

from __future__ import annotations

from haikud.sandbox.landlock import NET_ABI, SCOPE_ABI

PROTECTIONS = {
    "read": "reading files that are not named: the spool, the home folder, other worktrees, keys",
    "objects": "reading what is committed in the repository, on whatever branch: git needs its objects",
    "write": "writing, creating or removing anything outside the writable folders",
    "attributes": "changing mode, owner and times of files outside",
    "approve": "approving itself: writing guidance/, control/, incoming/ or responses/",
    "papers": "forging haikud's papers: results, decisions, orders, logs, links, locks; another task's out/",
    "repository": "writing the repository's git folder: hooks, settings, refs, objects, worktrees' entries",
    "checkouts": "writing the main checkout and other worktrees",
    "git-later": "having haikud's git, or yours, run later what it left: filters, hooks, fsmonitor, textconv",
    "truncate": "emptying files outside the writable folders",
    "names": "learning that a file or folder outside exists, and its size and times (stat)",
    "processes": "seeing other processes' names and command lines in /proc",
    "memory": "reading other processes' environment and memory, or tracing them",
    "signals": "ending or stopping processes outside",
    "priorities": "changing priority, limits and CPUs of your other processes",
    "terminals": "writing to your terminals, or typing into them",
    "unix-sockets": "talking to sockets of the machine by their path: Docker, D-Bus, ssh-agent",
    "abstract-sockets": "talking to sockets of the machine by an abstract name",
    "tcp-hosts": "TCP to hosts that are not listed",
    "tcp-ports": "TCP to ports other than the gateway's and the proxy's",
    "udp": "UDP, and with it DNS",
    "other-sockets": "ICMP, raw and packet sockets, vsock, multipath TCP",
    "proxy": "talking the proxy into a host or port that is not listed",
    "listening": "listening on the machine's own addresses",
    "keyrings": "the kernel's keyrings",
    "namespaces": "making namespaces and mounts, io_uring, bpf, ptrace",
    "devices": "disks and other devices, the kernel's log and tunables, cgroups",
    "temporary": "other programs' files in /tmp: the command has a /tmp of its own, or none",
    "ipc": "System V and POSIX message queues and shared memory of other programs",
    "left-behind": "processes that outlive the command",
    "file-bytes": "files larger than the settings allow",
    "memory-bytes": "more address space in one process than the settings allow",
    "process-count": "more processes than the settings allow (root's are never counted)",
    "disk": "filling the disk with many files",
    "privileges": "gaining privileges by setuid programs, and root's capabilities",
}
"""What may be held, by a short name."""


def holds(mode: str, abi: int = 7, network: str = "listed") -> dict[str, bool]:
    """For each of PROTECTIONS whether that mode holds it. `abi`: Landlock's, of this kernel (landlock_abi)."""
    if mode == "bwrap":
        closed = network != "open"
        of_network = ("abstract-sockets", "tcp-hosts", "tcp-ports", "udp", "other-sockets", "proxy", "listening")
        return dict.fromkeys(PROTECTIONS, True) | dict.fromkeys(of_network, closed) | {"disk": False, "objects": False}
    if mode == "landlock" and abi >= 1:
        return dict.fromkeys(PROTECTIONS, True) | {
            "truncate": abi >= 3,
            "attributes": False,
            "names": False,
            "processes": False,
            "signals": abi >= SCOPE_ABI,
            # No unix sockets can be made at all, so there is nothing to reach by either kind of name.
            # Landlock knows ports and not addresses: another host can be reached at the proxy's port number.
            "tcp-hosts": network == "off",
            "tcp-ports": network != "open",  # before NET_ABI there is no TCP at all then (has_tcp)
            "udp": network != "open",
            "listening": network != "open",
            "proxy": network != "open",
            "other-sockets": network != "open",
            "disk": False,
            "objects": False,
        }
    return dict.fromkeys(PROTECTIONS, False) | {"left-behind": True, "git-later": True}


def has_tcp(abi: int, network: str) -> bool:
    """Whether commands in mode landlock have TCP: where it cannot be held to ports, there is none unless it is open."""
    return network == "open" or abi >= NET_ABI
