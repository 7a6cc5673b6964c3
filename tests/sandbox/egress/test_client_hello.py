"""The server's name of a real ClientHello, wherever its bytes are cut."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haikud.sandbox.egress.client_hello import is_hello, is_whole, server_name


def hello_to(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


HELLO = hello_to("Registry.Example.com")


def in_records_of(size: int) -> bytes:
    message = HELLO[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(HELLO[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize("size", [1, 3, 100, 16_000])
def test_a_name_is_found_however_it_is_cut_into_records(size: int):
    data = in_records_of(size)
    assert is_hello(data)
    assert is_whole(data)
    assert server_name(data) == "registry.example.com"


@pytest.mark.parametrize("size", [7, 16_000])
def test_what_is_not_whole_says_so(size: int):
    data = in_records_of(size)
    assert not any(is_whole(data[:end]) for end in range(len(data)) if is_hello(data[:end]))


def test_a_greeting_without_a_name():
    assert server_name(hello_to(None)) is None


def test_what_is_no_greeting():
    for data in (b"", b"GET / HTTP/1.1", b"SSH-2.0-x\r\n", b"\x16\x02\x00"):
        assert not is_hello(data)
    assert is_whole(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00")


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, len(HELLO)))
def test_no_bytes_make_it_fail(noise: bytes, cut: int):
    for data in (noise, HELLO[:cut] + noise, b"\x16\x03" + noise):
        is_whole(data)
        server_name(data)
