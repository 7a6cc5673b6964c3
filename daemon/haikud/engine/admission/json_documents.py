"""JSON, strictly: the depth is counted before the parser recurses, duplicate keys and odd numbers are left marked."""

from __future__ import annotations

import json
import re
from typing import Any

from haikud.engine.admission.values import quoted
from haikud.roles.plain_yaml import DEEPEST, MOST_NODES, BadNumber, OddKeys, read_float, read_integer

_STRING_OR_SIGN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]|,', re.DOTALL)

TOO_MUCH_FIX = "split the plan, or name files instead of including them"

_CUT_OFF = "the file was cut off: write it under a dot-name first, then rename it"

_FIX_BY_MESSAGE = (
    ("Extra data", "put one request into one file"),
    ("Invalid control character", r"write line breaks in strings as \n and tabs as \t"),
    ("Invalid \\", r"write a backslash in a string as \\"),
    ("Unterminated string", _CUT_OFF),
)
_FIX_BY_START = (
    ("'", "use double quotes"),
    ("\u201c", "use plain double quotes"),
    ("/", "JSON has no comments: remove it, or name the file .yaml and use #"),
    ("#", "JSON has no comments: remove it, or name the file .yaml"),
    ("True", "write true for True"),
    ("False", "write false for False"),
    ("None", "write null for None"),
)


class StrictJsonError(Exception):
    """Text that is no JSON, or nests too deeply: what is where, and the nearest fix."""

    def __init__(self, found: str, fix: str, *, is_too_deep: bool = False, is_too_much: bool = False) -> None:
        self.found = found
        self.fix = fix
        self.is_too_deep = is_too_deep
        self.is_too_much = is_too_much
        super().__init__(f"{found}; {fix}")


def read_json(text: str, *, most_depth: int = DEEPEST, most_nodes: int = MOST_NODES) -> Any:
    """The document in `text`, odd keys and numbers marked as in `plain_yaml`. Raises StrictJsonError."""
    _refuse_excess(text, most_depth, most_nodes)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=BadNumber,
            parse_float=read_float,
            parse_int=read_integer,
        )
    except json.JSONDecodeError as error:
        excerpt = text[error.pos : error.pos + 40].split("\n", 1)[0]
        before = f"before {quoted(excerpt)}" if excerpt else "at the end of the line"
        found = f"no JSON at line {error.lineno}, column {error.colno}, {before} ({error.msg})"
        raise StrictJsonError(found, _fix(text, error.pos, error.msg)) from error


def _refuse_excess(text: str, most_depth: int, most_nodes: int) -> None:
    """Count before anything is built: 1 MiB of brackets and commas would become fifty of objects."""
    depth = opened = commas = 0
    for match in _STRING_OR_SIGN.finditer(text):
        sign = match[0]
        if sign == ",":
            commas += 1
        elif sign in "[{":
            depth += 1
            opened += 1
        elif sign in "]}":
            depth -= 1
        if depth > most_depth:
            line = text.count("\n", 0, match.start()) + 1
            found = f"brackets more than {most_depth} levels deep (line {line})"
            raise StrictJsonError(found, "flatten the document", is_too_deep=True)
        if max(opened, commas) > most_nodes:
            found = f"more than {most_nodes} keys and values"
            raise StrictJsonError(found, TOO_MUCH_FIX, is_too_much=True)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    kept = OddKeys()
    for key, value in pairs:
        if key in kept:
            kept.doubled.append(key)
        else:
            kept[key] = value
    return kept


def _fix(text: str, position: int, message: str) -> str:
    rest = text[position:].lstrip()
    before = text[:position].rstrip()
    if not text.lstrip().startswith(("{", "[")):
        return "write a JSON object; a YAML request must be named .yaml"
    if not rest:
        return _CUT_OFF
    fixes = [fix for start, fix in _FIX_BY_MESSAGE if message.startswith(start)]
    fixes += [fix for start, fix in _FIX_BY_START if rest.startswith(start)]
    if fixes:
        return fixes[0]
    if rest[0] in "]},:" and before.endswith((",", ":")):
        return "remove the comma that nothing follows, or write the missing value"
    if message.startswith("Expecting ','"):
        return "add the missing comma, or close the string or bracket before it"
    return "mend the JSON there; `python3 -m json.tool FILE` checks it"
