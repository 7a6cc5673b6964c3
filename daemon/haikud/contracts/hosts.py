"""Entries of `sandbox.hosts`, and how a host's name is written so that two names can be compared.

`HOST` (ports 80 and 443), `HOST:PORT`, `*.HOST` and `*.HOST:PORT` (its subdomains, not HOST itself); an address, IPv6
in brackets, instead of a name. Names are compared in lower case, without a dot at the end, in their ASCII form. What
could be read in two ways is an error, never a guess: `127.1`, `0x7f.0.0.1` and `010.0.0.1` are no hosts here.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

USUAL_PORTS = (80, 443)
"""Of an entry that names no port."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class Host:
    """A host by its comparable name; an address where that is what the name says."""

    name: str
    address: Address | None = None


@dataclass(frozen=True)
class HostEntry:
    """What one entry lets through."""

    host: Host
    port: int | None = None  # None: USUAL_PORTS
    subdomains: bool = False  # of the host, and not itself

    def covers(self, host: Host, port: int) -> bool:
        """Whether this entry lets a connection to the host's port through."""
        if port not in (USUAL_PORTS if self.port is None else (self.port,)):
            return False
        if self.subdomains:
            return host.address is None and host.name.endswith(f".{self.host.name}")
        return host == self.host


def read_host(text: str) -> Host:
    """A host as a URL or a request names it; IPv6 in brackets. Raises ValueError."""
    if text.startswith("[") and text.endswith("]"):
        address = IPv6Address(text[1:-1])
        if address.scope_id is not None:
            msg = f"{text!r} names a zone"
            raise ValueError(msg)
        return _of_address(address.ipv4_mapped or address)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        msg = f"{text!r} is not the name of a host"
        raise ValueError(msg)
    if _NUMBER.fullmatch(labels[-1]):  # as browsers do: such a name is an address, or an attempt to hide one
        return _of_address(IPv4Address(name))
    return Host(name)


def read_port(text: str) -> int:
    """A port's number. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        msg = f"{text!r} is not the number of a port"
        raise ValueError(msg)
    return int(text)


def split_port(text: str) -> tuple[str, str | None]:
    """`HOST:PORT` in two; the brackets of an IPv6 address stay. Raises ValueError for an address without them."""
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:]*))?", text, re.DOTALL)
    if found is None:
        msg = f"{text!r} is neither HOST nor HOST:PORT (an IPv6 address stands in brackets)"
        raise ValueError(msg)
    return found[1], found[2]


@functools.lru_cache(maxsize=1024)  # of the same few, in every order
def read_entry(text: str) -> HostEntry:
    """An entry of the settings. Raises ValueError that says what is wrong and how to write it."""
    if not text or text != text.strip():
        msg = f"{text!r} is not a host: it is empty, or has spaces around it"
        raise ValueError(msg)
    if "://" in text or "/" in text or "@" in text:
        msg = (
            f"{text!r} is an address of a page or folder; write only its host, such as example.com or example.com:8080"
        )
        raise ValueError(msg)
    if text in {"*", "*.*", "*."}:
        msg = f"{text!r} would be every host; `network: open` says so"
        raise ValueError(msg)
    name, port = split_port(text)
    subdomains = name.startswith("*.")
    host = read_host(_in_ascii(name.removeprefix("*.")))
    if subdomains and (host.address is not None or "." not in host.name):
        msg = f"{text!r} is too wide: `*.` stands before a host with a dot in it, such as *.example.com"
        raise ValueError(msg)
    return HostEntry(host, None if port is None else read_port(port), subdomains)


def _of_address(address: Address) -> Host:
    return Host(str(address), address)


def _in_ascii(name: str) -> str:
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError as error:
        msg = f"{name!r} is not the name of a host"
        raise ValueError(msg) from error
