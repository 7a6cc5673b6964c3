"""A proxy that this machine itself has to go through: the daemon's HTTP_PROXY, HTTPS_PROXY and NO_PROXY.

Our proxy goes on through it; commands inside never see its address or credentials. Only proxies that are spoken to in
plain HTTP are known, which is what companies have; another kind is an error at each use and never a way around it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from haikud.contracts.hosts import Host, split_port


@dataclass(frozen=True)
class Upstream:
    """Where the machine's proxy is."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)  # the header's value; empty where it asks for none
    fault: str | None = None  # why it cannot be used


@dataclass(frozen=True)
class Upstreams:
    """Which proxy leads where."""

    of_tunnels: Upstream | None = None
    of_http: Upstream | None = None
    no_proxy: tuple[str, ...] = ()

    def towards(self, host: Host, port: int, *, tunnel: bool) -> Upstream | None:
        """The proxy to go through; None: straight there."""
        found = self.of_tunnels if tunnel else self.of_http
        return None if found is None or any(_exempts(entry, host, port) for entry in self.no_proxy) else found


def read_upstreams(environment: Mapping[str, str]) -> Upstreams:
    """As programs read it: the names in lower case first."""

    def value(name: str) -> str:
        return environment.get(name) or environment.get(name.upper()) or ""

    exempt = tuple(entry.strip().lower() for entry in value("no_proxy").split(",") if entry.strip())
    return Upstreams(_read(value("https_proxy")), _read(value("http_proxy")), exempt)


def _read(text: str) -> Upstream | None:
    if not text:
        return None
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port or 80
    except ValueError:
        return Upstream("", 0, fault="the daemon's proxy has an address that is not understood")
    if url.scheme != "http" or not url.hostname:
        return Upstream("", 0, fault=f"the daemon's proxy is one of {url.scheme}://, which haikud cannot go through")
    credentials = ""
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        credentials = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    return Upstream(url.hostname, port, credentials)


def _exempts(entry: str, host: Host, port: int) -> bool:
    """Whether an entry of NO_PROXY means this host: `*`, a name with its subdomains, an address, a network; `:PORT`."""
    if entry == "*":
        return True
    try:
        name, of_port = split_port(entry)
    except ValueError:
        name, of_port = entry, None  # an IPv6 address without brackets
    if of_port not in {None, str(port)}:
        return False
    name = name.strip("[]").removeprefix("*").removeprefix(".").removesuffix(".")
    if host.address is None:
        return bool(name) and (host.name == name or host.name.endswith(f".{name}"))
    try:
        return host.address in ip_network(name, strict=False) if "/" in name else host.address == ip_address(name)
    except ValueError:
        return False
