"""Entries of `sandbox.hosts`: what they let through, and what is no entry."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from haikud.contracts.hosts import read_entry, read_host, split_port
from haikud.contracts.settings import DEFAULT_HOSTS, SandboxSettings


@pytest.mark.parametrize(
    ("entry", "host", "port", "covered"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "example.com", 80, True),
        ("example.com", "example.com", 22, False),
        ("example.com", "EXAMPLE.com.", 443, True),
        ("Example.COM.", "example.com", 443, True),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "example.com.evil.org", 443, False),
        ("example.com", "notexample.com", 443, False),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "notexample.com", 443, False),
        ("*.example.com:8443", "a.example.com", 8443, True),
        ("*.example.com:8443", "a.example.com", 443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("bücher.example", "xn--bcher-kva.example", 443, True),
        ("127.0.0.1:4873", "127.0.0.1", 4873, True),
        ("127.0.0.1:4873", "localhost", 4873, False),
        ("[::1]:4873", "[0:0::1]", 4873, True),
        ("10.0.0.5", "[::ffff:10.0.0.5]", 443, True),
        ("[2001:db8::1]", "[2001:DB8:0::1]", 443, True),
    ],
)
def test_what_an_entry_lets_through(entry: str, host: str, port: int, covered: bool):
    assert read_entry(entry).covers(read_host(host), port) is covered


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("", "empty"),
        (" example.com", "spaces"),
        ("http://example.com", "only its host"),
        ("example.com/path", "only its host"),
        ("user@example.com", "only its host"),
        ("*", "network: open"),
        ("*.com", "too wide"),
        ("*.10.0.0.1", "too wide"),
        ("exam*ple.com", "name of a host"),
        ("example..com", "name of a host"),
        ("-example.com", "name of a host"),
        ("example.com:0", "port"),
        ("example.com:65536", "port"),
        ("example.com:", "port"),
        ("example.com:https", "port"),
        ("::1", "brackets"),
        ("[::1%eth0]:80", "zone"),
        ("127.1", "127.1"),
        ("0x7f.0.0.1", "0x7f"),
        ("2130706433", "2130706433"),
        ("010.0.0.1", "010"),
        ("a" * 64 + ".com", "name of a host"),
        ("ex\nample.com", "name of a host"),
    ],
)
def test_what_is_no_entry_is_told_with_the_reason(entry: str, why: str):
    with pytest.raises(ValidationError, match="hosts") as found:
        SandboxSettings(hosts=[entry])
    assert why in str(found.value)


def test_the_default_hosts_are_entries():
    assert SandboxSettings().hosts == list(DEFAULT_HOSTS)


label = st.sampled_from(["a", "b", "www", "x-1", "_srv", "com"])
name = st.builds(lambda labels: ".".join([*labels, "test"]), st.lists(label, min_size=1, max_size=4))


@settings(max_examples=50)
@given(listed=name, other=name, port=st.sampled_from([80, 443, 8080]))
def test_only_the_host_itself_and_its_subdomains_are_ever_covered(listed: str, other: str, port: int):
    host = read_host(other)
    assert read_entry(listed).covers(host, port) is (other == listed and port != 8080)
    assert read_entry(f"*.{listed}").covers(host, port) is (other.endswith(f".{listed}") and port != 8080)
    assert read_entry(f"*.{listed}").covers(read_host(f"{other}.{listed}"), 443)


@settings(max_examples=50)
@given(text=st.text(max_size=40))
def test_whatever_is_read_as_a_host_is_written_one_way_only(text: str):
    try:
        host = read_host(split_port(text)[0])
    except ValueError:
        return
    written = f"[{host.name}]" if ":" in host.name else host.name
    assert host.name.isascii()
    assert host.name == host.name.lower()
    assert read_host(written) == host
