"""What a client asks of the proxy: read strictly, and written anew from what was understood.

What two programs could read differently (two lengths, a bare line end, spaces before a colon, a name in percent signs,
a name and a password in the address) is refused instead of passed on. The host is the one that the request line names;
the Host header says the same because we write it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from haikud.contracts.hosts import Host, read_host, read_port, split_port

MOST_HEAD_BYTES = 65_536
"""Of a request's or response's head."""

_MOST_HEADERS = 200
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/(1\.[01])")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_HTTP_URL = re.compile(r"http://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [^\r\n\0]*)?")

_OF_ONE_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"content-length", b"upgrade", b"host", b"http2-settings"),
    }
)
"""Headers that are between a client and its proxy, or that we write ourselves."""


class Refusal(Exception):  # noqa: N818 -- an answer rather than an error
    """What the client gets instead of what it asked for."""

    def __init__(self, status: int, phrase: str, text: str, *headers: str) -> None:
        super().__init__(text)
        self.status, self.phrase, self.text, self.headers = status, phrase, text, headers

    def answer(self) -> bytes:
        """As it goes over the wire."""
        body = f"haikud: {self.text}\n".encode("utf-8", "backslashreplace")
        lines = [
            f"HTTP/1.1 {self.status} {self.phrase}",
            *self.headers,
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            "Proxy-Connection: close",
        ]
        return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace") + b"\r\n" + body


def bad_request(text: str) -> Refusal:
    """For what no honest client sends."""
    return Refusal(400, "Bad Request", f"this request is not understood: {text}")


@dataclass(frozen=True)
class Request:
    """One request, as far as the proxy goes by it."""

    method: str
    host: Host
    port: int
    path: str = ""  # empty with CONNECT
    version: str = "1.1"
    headers: tuple[tuple[bytes, bytes], ...] = ()  # that are passed on
    length: int | None = None  # of the body, in bytes
    chunked: bool = False
    credentials: str | None = field(default=None, repr=False)  # USER:PASSWORD for the proxy

    @property
    def is_tunnel(self) -> bool:
        """Whether bytes are to be passed on unread."""
        return self.method == "CONNECT"

    @property
    def authority(self) -> str:
        """HOST:PORT, an IPv6 address in brackets."""
        return f"{in_brackets(self.host)}:{self.port}"

    def head(self, *, through: str | None = None) -> bytes:
        """The request as we send it. `through`: the credentials of a proxy that gets it ("" where it asks for none)."""
        host = in_brackets(self.host) if self.port == 80 else self.authority
        target = self.path if through is None else f"http://{host}{self.path}"
        lines = [f"{self.method} {target} HTTP/{self.version}".encode("ascii"), f"Host: {host}".encode("ascii")]
        lines += [name + b": " + value for name, value in self.headers]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length is not None:
            lines.append(b"Content-Length: %d" % self.length)
        if through:
            lines.append(b"Proxy-Authorization: " + through.encode("ascii"))
        lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


def in_brackets(host: Host) -> str:
    """The host as a URL writes it."""
    return f"[{host.name}]" if host.address is not None and host.address.version == 6 else host.name


def read_request(head: bytes) -> Request:
    """A request's head, up to and with its empty line. Raises Refusal."""
    first, headers = _lines_of(head)
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise bad_request("its first line")
    method, target, version = (part.decode("ascii") for part in line.groups())
    credentials = _credentials(headers)
    if method == "CONNECT":
        host, port = _host_and_port(target, None)
        return Request(method, host, port, version=version, credentials=credentials)
    url = _HTTP_URL.fullmatch(target)
    if url is None or "#" in target:
        raise bad_request("this is a proxy, which takes http://HOST/PATH, and CONNECT for all else")
    host, port = _host_and_port(url[1], 80)
    length, chunked = _body(headers, version)
    own = {token.strip().lower() for value in _values(headers, b"connection") for token in value.split(b",")}
    left_out = own | _OF_ONE_HOP
    passed = tuple((name, value) for name, value in headers if name.lower() not in left_out)
    path = url[2] if url[2].startswith("/") else f"/{url[2]}"
    return Request(method, host, port, path, version, passed, length, chunked, credentials)


def read_response_head(head: bytes) -> tuple[int, bytes]:
    """The status and the head as the client gets it: the connection ends after it. Raises Refusal."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _STATUS_LINE.fullmatch(lines[0])
    if found is None:
        raise Refusal(502, "Bad Gateway", "the host answered with something that is not HTTP")
    kept = [
        line
        for line in lines[1:]
        if line.partition(b":")[0].strip().lower() not in {b"connection", b"keep-alive", b"proxy-connection"}
    ]
    status = int(found[1])
    if status >= 200:
        kept.append(b"Connection: close")
    return status, b"\r\n".join([lines[0], *kept]) + b"\r\n\r\n"


def read_chunk_size(line: bytes) -> int:
    """Of a body in chunks. Extensions mean nothing to us and are left out. Raises Refusal."""
    size = line.partition(b";")[0].rstrip(b" \t")
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
        raise bad_request("a chunk's size")
    return int(size, 16)


def _lines_of(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The first line, and the headers."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if len(lines) > _MOST_HEADERS:
        raise Refusal(431, "Too Many Headers", f"a request has at most {_MOST_HEADERS} headers here")
    headers = []
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise bad_request("one of its headers")
        headers.append((found[1], found[2].rstrip(b" \t")))
    return first, headers


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _host_and_port(authority: str, usual: int | None) -> tuple[Host, int]:
    try:
        name, port = split_port(authority)
        host = read_host(name)
        if port is None and usual is None:
            raise bad_request("it names no port")
        return host, usual if not port and usual is not None else read_port(port or "")
    except ValueError as error:
        raise bad_request(str(error)) from error


def _body(headers: list[tuple[bytes, bytes]], version: str) -> tuple[int | None, bool]:
    lengths, codings = _values(headers, b"content-length"), _values(headers, b"transfer-encoding")
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or version == "1.0":
            raise bad_request("how long its body is")
        return None, True
    if not lengths:
        return None, False
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,15}", lengths[0]):
        raise bad_request("how long its body is")
    return int(lengths[0]), False


def _credentials(headers: list[tuple[bytes, bytes]]) -> str | None:
    given = _values(headers, b"proxy-authorization")
    if len(given) != 1:
        return None
    scheme, _, encoded = given[0].partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
