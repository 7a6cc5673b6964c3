"""Contracts on disk: read them, write them, walk files of one record a line.

Promises: what `dump` gives, `read_model` takes, and it holds no secret that contracts/masking.py finds: whoever writes
what has to stay as it came (a request, an order) says so with `dump_as_is`. A file that is there but broken is never
taken for a missing one: UnreadableFile says which file and why. Whatever an agent that runs unconfined has put in a
record's place (a FIFO, a symlink, a folder, a huge file), reading it neither waits nor follows nor fills memory.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from haikud.contracts.masking import active_masker

M = TypeVar("M", bound=BaseModel)

MOST_RECORD_BYTES = 256 * 1024 * 1024
MOST_LINE_BYTES = 64 * 1024 * 1024
"""More than any record or line of ours has."""

_CHUNK = 1024 * 1024


class UnreadableFile(Exception):  # noqa: N818 - reads as what it is
    """A file of ours that is there but does not hold what it should."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be read: {why}")
        self.path = path
        self.why = why


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = "/".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]


def read_model(path: Path, cls: type[M]) -> M | None:
    """The record in a file, None where there is no such file; UnreadableFile where it is broken."""
    data = read_record(path)
    return None if data is None else parse_record(path, data, cls)


def read_record(path: Path) -> bytes | None:
    """The bytes of a record, None where there is no such file; UnreadableFile where it is none of ours."""
    try:
        descriptor = _open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = _read_record(descriptor)
    finally:
        os.close(descriptor)
    if len(data) > MOST_RECORD_BYTES:
        raise UnreadableFile(path, f"it has more than {MOST_RECORD_BYTES} bytes")
    return data


def parse_record(path: Path, data: bytes, cls: type[M]) -> M:
    """The record that these bytes are; UnreadableFile where they are none. `path`: where they come from."""
    try:
        return cls.model_validate_json(data)
    except ValidationError as error:
        raise UnreadableFile(path, _first_fault(error)) from error


def _read_record(descriptor: int) -> bytes:
    """All of a file, or more than MOST_RECORD_BYTES of it. No room is asked for that its size does not call for."""
    size = min(os.fstat(descriptor).st_size, MOST_RECORD_BYTES)
    data = os.read(descriptor, size + 1)
    while size < len(data) <= MOST_RECORD_BYTES and (more := os.read(descriptor, _CHUNK)):  # it has grown
        data += more
    return data


def _open_regular(path: Path) -> int:
    """A descriptor of a regular file; UnreadableFile where something else is in its place."""
    why = "it is no regular file"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symlink; a socket
            raise UnreadableFile(path, why) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFile(path, why)
    return descriptor


def dump(model: BaseModel) -> bytes:
    """Indented JSON and a newline, secrets masked: what goes to disk."""
    return active_masker().document(dump_as_is(model), indent=2)


def dump_line(model: BaseModel) -> bytes:
    """JSON on one line and a newline, secrets masked: what goes into files of one record a line."""
    return active_masker().document(line_as_is(model))


def dump_as_is(model: BaseModel) -> bytes:
    """As `dump`, and nothing masked: for people's own words that somebody is to act on, and for figures."""
    return _to_json(model, 2)


def line_as_is(model: BaseModel) -> bytes:
    """As `dump_line`, and nothing masked: for what is masked already, for figures, and for messages of processes."""
    return _to_json(model, None)


def _to_json(model: BaseModel, indent: int | None) -> bytes:
    try:
        return model.model_dump_json(indent=indent).encode() + b"\n"
    except (PydanticSerializationError, UnicodeEncodeError):
        # A half of a surrogate pair, from a "\ud83d" in someone's request: JSON can say it, UTF-8 cannot.
        return json.dumps(model.model_dump(mode="json"), indent=indent).encode() + b"\n"


def iter_lines(path: Path, cls: type[M], *, strict: bool = False, only: bytes = b"") -> Iterator[M]:
    """The records of a file of one record a line; none where there is no such file.

    A torn last line (no newline yet) is skipped. A broken line before it is what a power cut leaves in a file that
    is not fsynced: skipped too, or with `strict` an UnreadableFile. `only`: lines that hold these bytes.
    """
    try:
        descriptor = _open_regular(path)
    except FileNotFoundError:
        return
    except UnreadableFile:
        if strict:
            raise
        return
    with os.fdopen(descriptor, "rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MOST_LINE_BYTES), b""), 1):
            if not line.endswith(b"\n") or not line.strip() or only not in line:
                continue
            try:
                yield cls.model_validate_json(line)
            except ValidationError as error:
                if strict:
                    raise UnreadableFile(path, f"line {number}: {_first_fault(error)}") from error
