"""The machine's own proxy, as its environment names it."""

from __future__ import annotations

import pytest

from haikud.contracts.hosts import read_host
from haikud.sandbox.egress.upstream import read_upstreams


def test_where_to_and_with_what():
    found = read_upstreams({"HTTPS_PROXY": "http://me:p%40ss@proxy.corp:8080", "http_proxy": "other"})
    tunnels = found.towards(read_host("a.test"), 443, tunnel=True)
    assert tunnels is not None
    assert (tunnels.host, tunnels.port, tunnels.authorization) == ("proxy.corp", 8080, "Basic bWU6cEBzcw==")
    assert "bWU6" not in repr(found)
    http = found.towards(read_host("a.test"), 80, tunnel=False)
    assert http is not None
    assert (http.host, http.port, http.authorization) == ("other", 80, "")


def test_none_at_all():
    assert read_upstreams({}).towards(read_host("a.test"), 443, tunnel=True) is None


@pytest.mark.parametrize("address", ["socks5://p:1", "https://p:443", "http://p:port", "http://"])
def test_a_proxy_that_cannot_be_used_is_not_passed_by(address: str):
    found = read_upstreams({"https_proxy": address}).towards(read_host("a.test"), 443, tunnel=True)
    assert found is not None
    assert found.fault


@pytest.mark.parametrize(
    ("entry", "host", "exempt"),
    [
        ("*", "a.test", True),
        ("a.test", "a.test", True),
        ("a.test", "b.a.test", True),
        (".a.test", "b.a.test", True),
        ("*.a.test", "b.a.test", True),
        ("a.test", "ba.test", False),
        ("a.test:443", "a.test", True),
        ("a.test:80", "a.test", False),
        ("A.TEST", "a.test", True),
        ("10.0.0.0/8", "10.9.8.7", True),
        ("10.0.0.0/8", "11.9.8.7", False),
        ("10.9.8.7", "10.9.8.7", True),
        ("::1", "[::1]", True),
        ("[::1]:443", "[::1]", True),
        ("10.0.0.0/99", "10.9.8.7", False),
        ("", "a.test", False),
    ],
)
def test_no_proxy(entry: str, host: str, exempt: bool):
    found = read_upstreams({"https_proxy": "http://p", "NO_PROXY": f"x.test, {entry} ,"})
    assert (found.towards(read_host(host), 443, tunnel=True) is None) is exempt
