"""What the matrix says of older kernels and open networks; tests/hostile tries the rest of it."""

from __future__ import annotations

from haikud.sandbox.landlock import NET_ABI, SCOPE_ABI
from haikud.sandbox.matrix import has_tcp, holds


def test_an_older_kernel_holds_less_and_never_lets_tcp_out_unheld():
    assert not holds("landlock", SCOPE_ABI - 1)["signals"]
    assert not holds("landlock", 2)["truncate"]
    assert holds("landlock", NET_ABI - 1)["tcp-ports"]
    assert not has_tcp(NET_ABI - 1, "listed")
    assert has_tcp(NET_ABI, "listed")


def test_an_open_network_is_held_by_nothing():
    for mode in ("bwrap", "landlock"):
        held = holds(mode, network="open")
        assert not any(held[name] for name in ("tcp-hosts", "tcp-ports", "udp", "listening", "proxy", "other-sockets"))
