"""The published matrix says what `holds` says; that this is so is for tests/hostile to try."""

from __future__ import annotations

from pathlib import Path

from haikud.sandbox.landlock import NET_ABI, SCOPE_ABI
from haikud.sandbox.matrix import PROTECTIONS, has_tcp, holds

DOCUMENT = Path(__file__).parents[2] / "docs" / "isolation.md"


def test_the_published_table_is_the_matrix():
    words = {True: "yes", False: "**no**"}
    held = [holds(mode) for mode in ("bwrap", "landlock", "none")]
    rows = [f"| {text} | {' | '.join(words[one[name]] for one in held)} |" for name, text in PROTECTIONS.items()]
    assert "\n".join(rows) in DOCUMENT.read_text(encoding="utf-8")


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
