"""Plain YAML, built from the parser's events: no recursion, no tags, no aliases, no second document.

The loaders that PyYAML brings are not used: the C one crashes on 100,000 brackets, both follow aliases and turn dates
into objects. The C *parser* is safe, because it gives its events one by one and we stop at the limits (measured with
100,000 of each kind of bracket and indicator); the pure one is too, and serves where libyaml is missing. Scalars
follow YAML 1.2's core schema, which agrees with JSON: `yes`, `2025-10-21` and `12:30` are strings.

Raises `PlainYamlError`. Duplicate keys, keys that are no strings and numbers that cannot be stored are no errors here:
they are left marked in the document (`OddKeys`, `BadNumber`), because only the reader knows where they matter.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Any

import yaml

DEEPEST = 64
"""Objects and lists nest so deep at most."""

MOST_NODES = 20_000
"""Objects, lists, keys and values together."""

MOST_TAG_DIRECTIVES = 16
"""libyaml compares each with all before it, in one call that nothing can interrupt: 1 MiB of them took 4 s."""

MOST_DIGITS = 300
"""Of a whole number: more cannot be a float, and Python refuses to print 4,300."""

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_TAG_DIRECTIVE = re.compile(r"^\ufeff?%TAG", re.MULTILINE)

_NO_KEY = object()


class YamlFault(StrEnum):
    """What is wrong with a YAML text."""

    SYNTAX = "syntax"
    FORBIDDEN = "forbidden"  # tags, anchors, aliases, several documents
    TOO_DEEP = "too_deep"
    TOO_MANY_NODES = "too_many_nodes"
    EMPTY = "empty"


class PlainYamlError(Exception):
    """YAML that cannot be read, or may not be: in which line (0: unknown), what is there, and the nearest fix."""

    def __init__(self, kind: YamlFault, line: int, found: str, fix: str) -> None:
        self.kind = kind
        self.line = line
        self.found = found
        self.fix = fix
        super().__init__(f"{found}; {fix}")


class BadNumber:
    """A number that cannot be stored, in place of its value."""

    def __init__(self, text: str) -> None:
        self.shown = text if len(text) <= MOST_DIGITS else f"a number of {len(text)} digits"


class OddKeys(dict[str, Any]):
    """An object in which keys came twice (the first value is kept), or keys that are no strings."""

    doubled: list[str]
    no_strings: list[str]  # as they would stand in quotes

    def __init__(self) -> None:
        super().__init__()
        self.doubled = []
        self.no_strings = []


def read_float(text: str) -> float | BadNumber:
    """A finite float, or what stands for one that is not."""
    number = float(text)
    return number if math.isfinite(number) else BadNumber(text)


def read_integer(text: str, base: int = 10) -> int | BadNumber:
    """A whole number, or what stands for one that is too long."""
    return int(text, base) if len(text) <= MOST_DIGITS else BadNumber(text)


class _Frame:
    """An object or list that is being filled."""

    def __init__(self, *, is_object: bool) -> None:
        self.is_object = is_object
        self.fields = OddKeys()
        self.members: list[Any] = []
        self.key: Any = _NO_KEY

    def add(self, value: Any) -> None:
        """Take the next member, key or value."""
        if not self.is_object:
            self.members.append(value)
        elif self.key is _NO_KEY:
            self.key = value
        else:
            self._add_field(self.key, value)
            self.key = _NO_KEY

    def _add_field(self, key: Any, value: Any) -> None:
        if not isinstance(key, str):
            is_scalar = isinstance(key, bool | int | float)
            self.fields.no_strings.append(str(key) if is_scalar else "")
        elif key in self.fields:
            self.fields.doubled.append(key)
        else:
            self.fields[key] = value

    def whole(self) -> Any:
        """What was filled: a plain object where nothing is wrong with its keys."""
        if not self.is_object:
            return self.members
        return self.fields if self.fields.doubled or self.fields.no_strings else dict(self.fields)


def read_plain_yaml(text: str, *, most_depth: int = DEEPEST, most_nodes: int = MOST_NODES) -> Any:
    """The one document in `text`; None is never returned. Raises PlainYamlError."""
    if text.count("%TAG") > MOST_TAG_DIRECTIVES and len(_TAG_DIRECTIVE.findall(text)) > MOST_TAG_DIRECTIVES:
        raise PlainYamlError(YamlFault.FORBIDDEN, 0, "%TAG directives", "remove them: tags are not read")
    try:
        return _build(text, most_depth, most_nodes)
    except yaml.YAMLError as error:
        raise _syntax_error(error) from error


def _build(text: str, most_depth: int, most_nodes: int) -> Any:
    stack: list[_Frame] = []
    root: Any = _NO_KEY
    for number, event in enumerate(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
        _refuse_excess(event, number, len(stack), most_depth, most_nodes)
        _refuse(event, is_whole=root is not _NO_KEY)
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            stack.append(_Frame(is_object=isinstance(event, yaml.MappingStartEvent)))
            continue
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            value = stack.pop().whole()
        else:
            continue
        if stack:
            stack[-1].add(value)
        else:
            root = value
    if root is _NO_KEY or root is None:
        found = "a YAML text without content (comments and separators only)"
        raise PlainYamlError(YamlFault.EMPTY, 0, found, "write the content into it")
    return root


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _refuse_excess(event: yaml.Event, events: int, depth: int, most_depth: int, most_nodes: int) -> None:
    """Raise PlainYamlError at the first event that is too deep or one too many."""
    if events > 2 * most_nodes:  # at most a start and an end per node
        found = f"more than {most_nodes} keys and values"
        raise PlainYamlError(YamlFault.TOO_MANY_NODES, _line(event), found, "make it smaller")
    if isinstance(event, yaml.CollectionStartEvent) and depth >= most_depth:
        found = f"brackets or indentation more than {most_depth} levels deep (line {_line(event)})"
        raise PlainYamlError(YamlFault.TOO_DEEP, _line(event), found, "flatten the document")


def _refuse(event: yaml.Event, *, is_whole: bool) -> None:
    """Raise PlainYamlError at the first event that plain YAML does not have."""
    line = _line(event)
    forbidden = None
    anchor = getattr(event, "anchor", None)
    tag = getattr(event, "tag", None)
    if isinstance(event, yaml.DocumentStartEvent) and is_whole:
        forbidden = "a second document", "keep one document per file"
    elif isinstance(event, yaml.AliasEvent):
        forbidden = f"the alias *{anchor}", "write the value out: anchors and aliases are not read"
    elif anchor is not None:
        forbidden = f"the anchor &{anchor}", "write the value out; quote text that starts with &"
    elif tag is not None:
        forbidden = f"the tag {tag!r}", "remove it; quote text that starts with !"
    if forbidden:
        raise PlainYamlError(YamlFault.FORBIDDEN, line, f"{forbidden[0]} in line {line}", forbidden[1])


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in _BOOL:
        return _BOOL[text]
    if _NULL.fullmatch(text):
        return None
    for pattern, base in ((_INTEGER, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            return read_integer(text, base)
    if _FLOAT.fullmatch(text):
        return read_float(text)
    return BadNumber(text) if _NOT_FINITE.fullmatch(text) else text


def _syntax_error(error: yaml.YAMLError) -> PlainYamlError:
    line = 0
    if isinstance(error, yaml.MarkedYAMLError):
        found = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        if mark:
            line = mark.line + 1
            found = f"{found} at line {line}, column {mark.column + 1}"
    else:
        found = " ".join(str(error).split())[:300]
    return PlainYamlError(YamlFault.SYNTAX, line, found, _syntax_fix(found.lower()))


def _syntax_fix(found: str) -> str:
    if "mapping values are not allowed" in found:
        return "put quotes around text that contains ': '"
    if "tab" in found or r"'\t'" in found:
        return "indent with spaces, not tabs"
    if "cannot start any token" in found:
        return "put quotes around text that starts with @, ` or %"
    if "special characters are not allowed" in found or "control characters" in found:
        return "remove the control characters"
    if "end of stream" in found or "unexpected end" in found:
        return "the file was cut off, or a quote or bracket is not closed"
    return "mend the YAML there: mostly indentation, or a text that needs quotes"
