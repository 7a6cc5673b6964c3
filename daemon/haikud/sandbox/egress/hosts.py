"""Which hosts may be reached: judged by name and port first, and by the addresses of a name that is listed after that.

A listed name must not become a way into this machine or its network: whoever owns the name decides where it points. So
a name may mean public addresses only. A name that is listed with its port (`registry.corp:8443`) may mean private ones
too: somebody thought of it. Addresses that no registry has (link-local, where clouds hand out credentials; multicast)
are reached only where that very address is listed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from haikud.contracts.hosts import Address, Host, HostEntry, read_entry

_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"))
)
"""Where clouds hand out credentials; some of it looks like an ordinary address."""

_OF_NOBODY = tuple(
    map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8::/32"))
)
"""For documentation and benchmarks. VPNs and test networks use them as stand-ins for the hosts of the internet."""

_NAT64 = IPv6Network("64:ff9b::/96")


class HostList:
    """The entries of `sandbox.hosts`, and ports on loopback that are open beside them."""

    def __init__(self, entries: Iterable[str], loopback_ports: Iterable[int] = ()) -> None:
        here = ("127.0.0.1", "localhost")
        own = [read_entry(f"{name}:{port}") for port in loopback_ports for name in here]
        # the most exact first: what it permits is what counts
        self._entries = sorted([*own, *map(read_entry, entries)], key=lambda one: (one.subdomains, one.port is None))

    def find(self, host: Host, port: int) -> HostEntry | None:
        """The entry that lets this through; None: nothing does."""
        return next((entry for entry in self._entries if entry.covers(host, port)), None)


def loopback_ports(entries: Iterable[str]) -> tuple[int, ...]:
    """Ports of this machine's loopback that are listed, such as a registry at 127.0.0.1:4873."""
    listed = [read_entry(text) for text in entries]
    return tuple(sorted({one.port for one in listed if one.port is not None and _is_here(one.host)}))


def _is_here(host: Host) -> bool:
    return host.name == "localhost" or (host.address is not None and host.address.is_loopback)


def may_mean(entry: HostEntry, address: Address) -> bool:
    """Whether a host that this entry lets through may be at this address."""
    if entry.host.address is not None:
        return True  # it is the address: nothing was resolved
    meant = _meant_by(address)
    if meant in _METADATA or meant.is_link_local or meant.is_multicast or meant.is_unspecified or _is_reserved(meant):
        return False
    if (meant.is_global or any(meant in network for network in _OF_NOBODY)) and not _is_own(meant):
        return True
    return entry.port is not None and not entry.subdomains


def _meant_by(address: Address) -> Address:
    """The address that a packet to `address` arrives at in the end, where one is written within another."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_reserved(address: Address) -> bool:
    """IPv6 calls its loopback and whatever begins like it reserved, too."""
    return address.is_reserved and not address.is_loopback


def _is_own(address: Address) -> bool:
    """Whether a public address is this machine's own: then the kernel would send from that very address."""
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))  # of a datagram socket: nothing is sent
            return str(probe.getsockname()[0]) == str(address)
    except OSError:
        return False  # no way there at all
