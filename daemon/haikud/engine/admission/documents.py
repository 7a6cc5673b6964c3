"""From bytes to a document: plain objects, lists, strings, numbers, booleans and nulls, with every limit kept.

Promises: at most 64 levels and 20,000 nodes (or what the settings say), whatever the bytes are, counted before
anything is built; no recursion; strict JSON (no NaN, no duplicate keys); strings that can be stored (no NUL, no half of
a surrogate pair). Raises `DocumentError` with all faults; its `document` is what could be read nevertheless, so that a
stated id can be found for the answer.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from haikud.contracts.error_report import FieldFault
from haikud.engine.admission.json_documents import TOO_MUCH_FIX, StrictJsonError, read_json
from haikud.engine.admission.rejection import FaultCode, make_fault
from haikud.engine.admission.values import pointer_of, quoted
from haikud.roles.plain_yaml import DEEPEST, MOST_NODES, BadNumber, PlainYamlError, YamlFault, read_plain_yaml

SUFFIXES = (".json", ".yaml", ".yml")
"""What a request's name may end in; upper case counts too."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_MAGIC = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
)
_TEXT_FIX = "save the file as UTF-8 text"


class DocumentError(Exception):
    """Bytes that are no acceptable document. `document` holds what could be read, or None."""

    def __init__(self, faults: list[FieldFault], document: Any = None) -> None:
        self.faults = faults
        self.document = document
        super().__init__(faults[0].found)


def parse_document(data: bytes, name: str, *, most_depth: int = DEEPEST, most_nodes: int = MOST_NODES) -> Any:
    """The document in `data`; `name` decides by its suffix between JSON and YAML. Raises DocumentError."""
    text = decode(data)
    suffix = PurePath(name).suffix.lower()
    if suffix == ".json":
        return _checked(_read_json(text, most_depth, most_nodes), most_nodes)
    if suffix in SUFFIXES:
        return _checked(_read_yaml(text, most_depth, most_nodes), most_nodes)
    raise _refused(
        FaultCode.BAD_NAME,
        found=f"the file name {quoted(name)}",
        expected="a name that ends in .json, .yaml or .yml",
        fix="rename the file after its format",
    )


def _read_json(text: str, most_depth: int, most_nodes: int) -> Any:
    try:
        return read_json(text, most_depth=most_depth, most_nodes=most_nodes)
    except StrictJsonError as error:
        if error.is_too_deep:
            code, expected = FaultCode.TOO_DEEP, f"at most {most_depth} levels"
        elif error.is_too_much:
            code, expected = FaultCode.TOO_MANY_NODES, f"at most {most_nodes}"
        else:
            code, expected = FaultCode.INVALID_JSON, "a JSON document"
        raise _refused(code, found=error.found, expected=expected, fix=error.fix) from error


_YAML_FAULTS = {
    YamlFault.SYNTAX: (FaultCode.INVALID_YAML, "a YAML document"),
    YamlFault.FORBIDDEN: (FaultCode.FORBIDDEN_YAML, "one document without tags, anchors and aliases"),
    YamlFault.TOO_DEEP: (FaultCode.TOO_DEEP, "at most {depth} levels"),
    YamlFault.TOO_MANY_NODES: (FaultCode.TOO_MANY_NODES, "at most {nodes}"),
    YamlFault.EMPTY: (FaultCode.EMPTY, "a request: a YAML object"),
}


def _read_yaml(text: str, most_depth: int, most_nodes: int) -> Any:
    try:
        return read_plain_yaml(text, most_depth=most_depth, most_nodes=most_nodes)
    except PlainYamlError as error:
        code, expected = _YAML_FAULTS[error.kind]
        expected = expected.format(depth=most_depth, nodes=most_nodes)
        raise _refused(code, found=error.found, expected=expected, fix=error.fix) from error


def decode(data: bytes) -> str:
    """The text in UTF-8 bytes, without a BOM. Raises DocumentError that says what the bytes are instead."""
    if not data.strip(b"\0"):
        found = f"{len(data)} NUL bytes, which is what a power cut leaves of a file" if data else "an empty file"
        raise _empty(found)
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            raise _refused(FaultCode.BAD_ENCODING, found=f"{encoding} text", expected="UTF-8 text", fix=_TEXT_FIX)
    data = data.removeprefix(codecs.BOM_UTF8)
    for magic, what in _MAGIC:
        if data.startswith(magic):
            raise _refused(FaultCode.BINARY, found=what, expected="UTF-8 text", fix="drop the plan itself")
    if b"\0" in data:
        raise _nul_inside(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(
            FaultCode.BAD_ENCODING,
            found=f"bytes that are no UTF-8 (the first at offset {error.start}: 0x{data[error.start]:02x})",
            expected="UTF-8 text",
            fix=_TEXT_FIX,
        ) from error
    if not text.strip():
        raise _empty("a file of white space only")
    return text


def _nul_inside(data: bytes) -> DocumentError:
    sample = data[:4096]
    nuls = (sample[0::2].count(0), sample[1::2].count(0))
    if max(nuls) * 2 > len(sample) * 0.6:
        return _refused(
            FaultCode.BAD_ENCODING,
            found="NUL bytes at every other place: UTF-16 text without its mark",
            expected="UTF-8 text",
            fix=_TEXT_FIX,
        )
    return _refused(
        FaultCode.BINARY,
        found=f"binary data: a NUL byte at offset {data.index(0)}",
        expected="UTF-8 text",
        fix="write the file again; the end of a copy that was cut off by a crash looks like this",
    )


def _empty(found: str) -> DocumentError:
    return _refused(
        FaultCode.EMPTY,
        found=found,
        expected="a request: a JSON or YAML object",
        fix="write the request under a name that starts with a dot, then rename it into incoming/",
    )


def _refused(code: FaultCode, *, found: str, expected: str, fix: str) -> DocumentError:
    return DocumentError([make_fault(code, "", found=found, expected=expected, fix=fix)])


@dataclass
class _Place:
    value: Any
    trail: tuple[str | int, ...]


def _checked(document: Any, most_nodes: int) -> Any:
    """The document, once all its values were looked at; raises DocumentError with everything that is wrong."""
    faults: list[FieldFault] = []
    nodes = 0
    stack = [_Place(document, ())]
    while stack:
        place = stack.pop()
        nodes += 1
        value = place.value
        if isinstance(value, dict):
            nodes += len(value)
            faults += _key_faults(value, place.trail)
            stack += [_Place(part, (*place.trail, key)) for key, part in reversed(value.items())]
        elif isinstance(value, list):
            stack += [_Place(part, (*place.trail, n)) for n, part in reversed(list(enumerate(value)))]
        else:
            faults += _scalar_faults(value, place.trail)
        if nodes > most_nodes:
            raise _refused(
                FaultCode.TOO_MANY_NODES,
                found=f"more than {most_nodes} keys and values",
                expected=f"at most {most_nodes}",
                fix=TOO_MUCH_FIX,
            )
    if faults:
        raise DocumentError(faults, document)
    return document


def _key_faults(value: dict[str, Any], trail: tuple[str | int, ...]) -> Iterator[FieldFault]:
    for key in getattr(value, "doubled", ()):
        yield make_fault(
            FaultCode.DUPLICATE_KEY,
            pointer_of((*trail, key)),
            found=f"the key {quoted(key)} twice in one object",
            expected="each key once",
            fix="remove or rename one of them",
        )
    for key in getattr(value, "no_strings", ()):
        yield make_fault(
            FaultCode.BAD_KEY,
            pointer_of((*trail, key)),
            found=f"the key {key}, which is no string" if key else "a key that is null, a list or an object",
            expected="keys that are strings",
            fix=f'put quotes around it: "{key}"' if key else "give it a name",
        )
    for key in value:
        yield from _scalar_faults(key, (*trail, key))


def _scalar_faults(value: Any, trail: tuple[str | int, ...]) -> Iterator[FieldFault]:
    if isinstance(value, BadNumber):
        yield make_fault(
            FaultCode.BAD_NUMBER,
            pointer_of(trail),
            found=value.shown,
            expected="a finite number of at most 300 digits",
            fix="write a plain number, or leave the field out",
        )
    elif isinstance(value, str):
        if "\0" in value:
            yield make_fault(
                FaultCode.BAD_TEXT,
                pointer_of(trail),
                found=f"a NUL character in {quoted(value)}",
                expected="text without NUL characters",
                fix="remove it",
            )
        elif not _can_be_stored(value):
            yield make_fault(
                FaultCode.BAD_TEXT,
                pointer_of(trail),
                found=f"half of a surrogate pair in {quoted(value)}",
                expected="text that can be written as UTF-8",
                fix=r"write the character itself, or both halves (\ud83d\ude00)",
            )


def _can_be_stored(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
