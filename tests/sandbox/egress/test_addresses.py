"""Which addresses a listed name may mean."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from haikud.contracts.hosts import read_entry, read_host
from haikud.sandbox.egress.hosts import HostList, loopback_ports, may_mean

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "203.0.113.7", "198.18.0.7"]
PRIVATE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.9", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
NEVER = [
    *("169.254.169.254", "169.254.0.7", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"),  # noqa: S104
    *("240.0.0.1", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "::ffff:169.254.169.254"),
    *("64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::7f00:1"),
]


@pytest.mark.parametrize("entry", ["example.com", "*.example.com", "example.com:8443", "*.example.com:8443"])
def test_a_listed_name_may_mean_what_its_entry_lets_it(entry: str):
    exact = entry == "example.com:8443"
    for address in PUBLIC:
        assert may_mean(read_entry(entry), ip_address(address)), address
    for address in PRIVATE:
        assert may_mean(read_entry(entry), ip_address(address)) is exact, address
    for address in NEVER:
        assert not may_mean(read_entry(entry), ip_address(address)), address


def test_an_address_that_is_listed_is_meant():
    assert may_mean(read_entry("169.254.169.254"), ip_address("169.254.169.254"))


def test_embedded_private_addresses_are_private():
    for address in ("64:ff9b::10.0.0.1", "2002:0a00:0001::1"):
        assert not may_mean(read_entry("example.com"), ip_address(address)), address


def test_the_machines_own_public_address_is_private(monkeypatch: pytest.MonkeyPatch):
    from haikud.sandbox.egress import hosts

    assert hosts._is_own(ip_address("127.0.0.1"))
    assert not hosts._is_own(ip_address("93.184.216.34"))
    monkeypatch.setattr(hosts, "_is_own", lambda _: True)
    assert not may_mean(read_entry("example.com"), ip_address("93.184.216.34"))


def test_the_most_exact_entry_decides():
    hosts = HostList(["*.example.com:8443", "*.example.com", "a.example.com:8443"])
    found = hosts.find(read_host("a.example.com"), 8443)
    assert found is not None
    assert not found.subdomains


def test_ports_of_this_machine_are_told_apart():
    listed = ["127.0.0.1:4873", "localhost:4874", "[::1]:4875", "example.com:99", "10.0.0.1:5", "127.0.0.1"]
    assert loopback_ports(listed) == (4873, 4874, 4875)
    assert HostList([], [7]).find(read_host("localhost"), 7)
    assert not HostList([], [7]).find(read_host("localhost"), 8)
