"""Requests are read strictly and written anew."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haikud.sandbox.egress.requests import Refusal, read_chunk_size, read_request, read_response_head


def head(line: str, *headers: str) -> bytes:
    return "".join(f"{one}\r\n" for one in (line, *headers)).encode("latin-1") + b"\r\n"


def test_a_request_goes_on_with_the_host_of_its_first_line():
    request = read_request(
        head(
            "GET HTTP://Example.COM./a%20b?c=d HTTP/1.1",
            "Host: evil.org",
            "Accept: */*",
            "Proxy-Authorization: Basic aGFpa3VkOnB3",
            "Proxy-Connection: keep-alive",
            "Connection: keep-alive, X-Mine",
            "X-Mine: 1",
            "Upgrade: h2c",
            "X-Kept: a",
            "X-Kept: b",
        )
    )
    assert (request.authority, request.credentials) == ("example.com:80", "haikud:pw")
    assert request.head() == head(
        "GET /a%20b?c=d HTTP/1.1", "Host: example.com", "Accept: */*", "X-Kept: a", "X-Kept: b", "Connection: close"
    )
    assert request.head(through="Basic eA==").startswith(b"GET http://example.com/a%20b?c=d HTTP/1.1\r\n")
    assert b"aGFpa3VkOnB3" not in request.head(through="Basic eA==")


def test_bodies_and_other_ports_and_addresses():
    sized = read_request(head("POST http://[::1]:8080?q HTTP/1.1", "content-length: 5"))
    assert sized.head() == head("POST /?q HTTP/1.1", "Host: [::1]:8080", "Content-Length: 5", "Connection: close")
    chunked = read_request(head("POST http://a.test/ HTTP/1.1", "Transfer-Encoding: CHUNKED"))
    assert b"Transfer-Encoding: chunked\r\n" in chunked.head()
    tunnel = read_request(head("CONNECT a.test:443 HTTP/1.1", "Host: b.test"))
    assert (tunnel.is_tunnel, tunnel.authority) == (True, "a.test:443")


@pytest.mark.parametrize(
    "data",
    [
        head("GET / HTTP/1.1", "Host: a.test"),
        head("GET https://a.test/ HTTP/1.1"),
        head("GET ftp://a.test/ HTTP/1.1"),
        head("GET http://a.test/ HTTP/2.0"),
        head("GET http://a.test/"),
        head("GET  http://a.test/ HTTP/1.1"),
        head("GET http://a.test/ HTTP/1.1 "),
        head("GET http://a.test/#x HTTP/1.1"),
        head("GET http://user:pw@a.test/ HTTP/1.1"),
        head("GET http://a.test@b.test/ HTTP/1.1"),
        head("GET http://a%2etest/ HTTP/1.1"),
        head("GET http://a.test\\@b.test/ HTTP/1.1"),
        head("GET http:///x HTTP/1.1"),
        head("GET http://127.1/ HTTP/1.1"),
        head("GET http://0x7f000001/ HTTP/1.1"),
        head("GET http://0177.0.0.1/ HTTP/1.1"),
        head("GET http://[::1%25eth0]/ HTTP/1.1"),
        head("GET http://a.test:99999/ HTTP/1.1"),
        head("GET http://a.test:0x50/ HTTP/1.1"),
        head("GET http://a.test:+80/ HTTP/1.1"),
        head("GET http://b\xfccher.test/ HTTP/1.1"),
        head("CONNECT a.test HTTP/1.1"),
        head("CONNECT a.test: HTTP/1.1"),
        head("CONNECT http://a.test:443 HTTP/1.1"),
        head("CONNECT a.test:443/x HTTP/1.1"),
        head("CONNECT u@a.test:443 HTTP/1.1"),
        head("CONNECT ::1:443 HTTP/1.1"),
        head("CONNECT a.test:443:80 HTTP/1.1"),
        head("POST http://a.test/ HTTP/1.1", "Content-Length: 5", "Content-Length: 5"),
        head("POST http://a.test/ HTTP/1.1", "Content-Length: 5, 5"),
        head("POST http://a.test/ HTTP/1.1", "Content-Length: +5"),
        head("POST http://a.test/ HTTP/1.1", "Content-Length: -1"),
        head("POST http://a.test/ HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"),
        head("POST http://a.test/ HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
        head("POST http://a.test/ HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        head("POST http://a.test/ HTTP/1.1", "Transfer-Encoding: \x0bchunked"),
        head("POST http://a.test/ HTTP/1.0", "Transfer-Encoding: chunked"),
        head("POST http://a.test/ HTTP/1.1", "Transfer-Encoding : chunked"),
        head("GET http://a.test/ HTTP/1.1", " folded: x"),
        head("GET http://a.test/ HTTP/1.1", "a: x", "\tfolded"),
        head("GET http://a.test/ HTTP/1.1", "a\tb: x"),
        head("GET http://a.test/ HTTP/1.1", "no colon"),
        head("GET http://a.test/ HTTP/1.1", "a: x\ny: z"),
        head("GET http://a.test/ HTTP/1.1", "a: x\ry: z"),
        head("GET http://a.test/ HTTP/1.1", "a: x\0"),
        head("GET http://a.test/ HTTP/1.1\nHost: x"),
        head("", "GET http://a.test/ HTTP/1.1"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes):
    with pytest.raises(Refusal) as refused:
        read_request(data)
    assert refused.value.status == 400


def test_too_many_headers_are_refused():
    with pytest.raises(Refusal, match="at most 200"):
        read_request(head("GET http://a.test/ HTTP/1.1", *["a: b"] * 201))


@settings(max_examples=50)
@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda t: f"GET http://{t}/ HTTP/1.1\r\n\r\n".encode()))
def test_nothing_but_a_request_or_a_refusal_comes_of_any_bytes(data: bytes):
    try:
        request = read_request(data)
    except Refusal:
        return
    again = read_request(
        request.head().replace(b" ", f" http://{request.authority}".encode(), 1)
        if not request.is_tunnel
        else head(f"CONNECT {request.authority} HTTP/1.1")
    )
    assert (again.host, again.port, again.path) == (request.host, request.port, request.path)


def test_the_end_of_a_response_is_the_end_of_its_connection():
    assert read_response_head(head("HTTP/1.1 200 OK", "Connection: keep-alive", "Keep-Alive: 5", "A: b")) == (
        200,
        head("HTTP/1.1 200 OK", "A: b", "Connection: close"),
    )
    assert read_response_head(head("HTTP/1.1 100 Continue")) == (100, head("HTTP/1.1 100 Continue"))
    with pytest.raises(Refusal):
        read_response_head(head("ICY 200 OK"))


def test_sizes_of_chunks():
    assert read_chunk_size(b"1f ; name=value") == 31
    for bad in (b"", b"-1", b"0x10", b"+5", b"1g", b"f" * 16, b" 5"):
        with pytest.raises(Refusal):
            read_chunk_size(bad)
