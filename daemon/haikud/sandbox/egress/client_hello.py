"""The name of the server in the first bytes of TLS, where a client says it openly (SNI, RFC 6066).

A tunnel to a listed host that greets another one behind the same address would be a way around the list. Only that is
looked at: what cannot be read is no ClientHello for us, and passes. It never fails.
"""

from __future__ import annotations

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0


class _TooShort(Exception):  # noqa: N818 -- caught within this file
    pass


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise _TooShort
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))


def is_hello(data: bytes) -> bool:
    """Whether these first bytes begin a TLS handshake."""
    return data[:1] == bytes([_HANDSHAKE]) and data[1:2] in {b"", b"\3"}


def is_whole(data: bytes) -> bool:
    """Whether the ClientHello is here to its end, or never will be."""
    message = _message(data)
    return message is None or len(message) >= max(4, 4 + int.from_bytes(message[1:4], "big"))


def server_name(data: bytes) -> str | None:
    """The server's name of a ClientHello in lower case; None: it names none."""
    message = _message(data)
    if not message:
        return None
    try:
        hello = _Reader(_Reader(message[1:]).vector(3))
        hello.take(34)  # version and random
        hello.vector(1)  # session
        hello.vector(2)  # ciphers
        hello.vector(1)  # compression
        extensions = _Reader(hello.vector(2))
        while extensions.at < len(extensions.data):
            kind, content = extensions.number(2), extensions.vector(2)
            if kind == _SERVER_NAME:
                return _first_name(_Reader(_Reader(content).vector(2)))
    except _TooShort:
        pass
    return None


def _first_name(names: _Reader) -> str | None:
    while names.at < len(names.data):
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "replace").lower().removesuffix(".")
    return None


def _message(data: bytes) -> bytes | None:
    """The handshake message out of its records, as far as it is there; at least 4 bytes or empty. None: no hello."""
    records, message = _Reader(data), b""
    while records.at < len(data):
        try:
            kind = records.number(1)
            if kind != _HANDSHAKE:
                return message or None
            records.take(2)
            size = records.number(2)
        except _TooShort:
            break
        message += data[records.at : records.at + size]
        records.at += size
        if message[0:1] not in {b"", bytes([_CLIENT_HELLO])}:
            return None
    return message if len(message) >= 4 else b""
