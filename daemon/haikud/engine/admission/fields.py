"""Reading a request's objects field by field: types are checked, and what nobody asked for is kept and noted.

`Fields` is one object of the document and its JSON Pointer. Each reading method marks its field as known, returns a
value of the right type or nothing, and puts a fault into `Notes` for a wrong type; null counts as absent. When all is
read, `Notes.keep_unknown` stores what is left under `extra`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haikud.contracts.error_report import FieldFault
from haikud.engine.admission.rejection import MOST_FAULTS, FaultCode, make_fault
from haikud.engine.admission.values import has_control_characters, pointer_of, quoted, shown

MOST_WARNINGS = 100
"""A plan lists so many warnings; the last one then says how many there are beyond."""

LONGEST_LINE = 500
"""Characters of a title, a name or another one-line text."""


@dataclass(frozen=True)
class Stated:
    """A text and where the document states it."""

    text: str
    pointer: str


@dataclass
class Notes:
    """What reading a request brought up."""

    faults: list[FieldFault] = field(default_factory=list)
    left_out: int = 0
    warnings_seen: dict[str, None] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    objects: list[Fields] = field(default_factory=list)

    def add(self, code: FaultCode, pointer: str, *, found: str, expected: str, fix: str) -> None:
        """Note a fault; beyond those that a rejection lists, only that there is one more."""
        if len(self.faults) >= MOST_FAULTS:
            self.left_out += 1
            return
        self.faults.append(make_fault(code, pointer, found=found, expected=expected, fix=fix))

    def warn(self, text: str) -> None:
        """Note a warning, once."""
        self.warnings_seen[text] = None

    @property
    def warnings(self) -> list[str]:
        """The warnings; of very many the first, and how many there are beyond."""
        texts = list(self.warnings_seen)
        beyond = len(texts) - MOST_WARNINGS
        return texts if beyond <= 0 else [*texts[:MOST_WARNINGS], f"... and {beyond} more warnings"]

    @property
    def is_full(self) -> bool:
        """Whether so much was noted that looking for hints is a waste of time."""
        return len(self.faults) >= MOST_FAULTS or len(self.warnings_seen) >= MOST_WARNINGS

    def keep_unknown(self) -> None:
        """Keep the unknown fields of every object that was read, with a warning each."""
        for one in self.objects:
            one.keep_unknown()


class Fields:
    """One object of the document. `at` is its pointer; `borrowed` are keys that stand elsewhere (in a template)."""

    def __init__(
        self, value: Mapping[str, Any], at: str, notes: Notes, *, borrowed: Mapping[str, str] | None = None
    ) -> None:
        self.value = value
        self.at = at
        self.notes = notes
        self.known: set[str] = set()
        self._borrowed = borrowed or {}
        notes.objects.append(self)

    def pointer(self, key: str) -> str:
        """The JSON Pointer of one field."""
        return self._borrowed.get(key) or f"{self.at}{pointer_of((key,))}"

    def has(self, key: str) -> bool:
        """Whether the field is there and not null. Does not make it known."""
        return self.value.get(key) is not None

    def raw(self, key: str) -> Any:
        """The field as it is; None where it is absent."""
        self.known.add(key)
        return self.value.get(key)

    def replace(self, key: str, value: Any) -> None:
        """Put another value in the field's place, for this reading; the document itself stays as it is."""
        self.value = {**self.value, key: value}

    def wrong(self, key: str, expected: str, fix: str) -> None:
        """Note that a field has the wrong type."""
        self.notes.add(
            FaultCode.WRONG_TYPE, self.pointer(key), found=shown(self.value.get(key)), expected=expected, fix=fix
        )

    def text(self, key: str) -> str | None:
        """A text, stripped of white space around it; None where it is absent or no text."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value.strip() if value is not None else None
        self.wrong(key, "a string", _as_string(value))
        return None

    def line(self, key: str) -> str | None:
        """A text of one line: white space becomes single blanks. None where it is absent, empty or no text."""
        text = self.text(key)
        if not text:
            return None
        text = " ".join(text.split())
        if len(text) > LONGEST_LINE:
            self.notes.add(
                FaultCode.BAD_VALUE,
                self.pointer(key),
                found=f"{len(text)} characters",
                expected=f"at most {LONGEST_LINE} characters in one line",
                fix="shorten it; details belong into description or steps",
            )
            return None
        if has_control_characters(text):
            self.notes.add(
                FaultCode.BAD_TEXT,
                self.pointer(key),
                found=f"control characters in {quoted(text)}",
                expected="one line of printable text",
                fix="remove the control characters",
            )
            return None
        return text

    def stated(self, key: str) -> Stated | None:
        """A one-line text with its pointer."""
        text = self.line(key)
        return Stated(text, self.pointer(key)) if text else None

    def stated_path(self, key: str) -> Stated | None:
        """A path on this machine with its pointer, as it is written: the blanks and tabs in it are its own."""
        path = self.text(key)
        if not path:
            return None
        if has_control_characters(path.replace("\t", "")):
            self.notes.add(
                FaultCode.BAD_TEXT,
                self.pointer(key),
                found=f"line breaks or control characters in {quoted(path)}",
                expected="a path on one line, which git's own files can hold",
                fix="move the repository to a path without them",
            )
            return None
        return Stated(path, self.pointer(key))

    def texts(self, key: str, *, one_will_do: bool = True) -> list[Stated]:
        """A list of texts, or one text; blank ones are left out. Each comes with its pointer."""
        value = self.raw(key)
        if value is None:
            return []
        if isinstance(value, str) and one_will_do:
            return [Stated(value.strip(), self.pointer(key))] if value.strip() else []
        if not isinstance(value, list):
            fix = f"[{quoted(value)}]" if isinstance(value, str) else "a list: [...]"
            self.wrong(key, "a list of strings", f"write {fix}")
            return []
        found = []
        for number, part in enumerate(value):
            where = f"{self.pointer(key)}/{number}"
            if isinstance(part, str):
                if part.strip():
                    found.append(Stated(part.strip(), where))
                continue
            self.notes.add(
                FaultCode.WRONG_TYPE, where, found=shown(part), expected="a string", fix=_as_string(part, listed=True)
            )
        return found

    def either(self, key: str, alias: str) -> list[Stated]:
        """The texts of a field that has two names; stating both is a fault unless they agree."""
        first, second = self.texts(key), self.texts(alias)
        if first and second and [s.text for s in first] != [s.text for s in second]:
            self.notes.add(
                FaultCode.BAD_VALUE,
                self.pointer(alias),
                found=f"both `{key}` and `{alias}`, which differ",
                expected="one of the two",
                fix=f"put all into `{key}`",
            )
        return first or second

    def object(self, key: str) -> dict[str, Any] | None:
        """An object as it is, with nothing read from it."""
        value = self.raw(key)
        if value is None or isinstance(value, dict):
            return value
        self.wrong(key, "an object", "write an object: {...}")
        return None

    def inner(self, key: str) -> Fields | None:
        """An object, to be read field by field."""
        value = self.object(key)
        return Fields(value, self.pointer(key), self.notes) if value is not None else None

    def integer(self, key: str, *, least: int) -> int | None:
        """A whole number."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            digits = value.strip().lstrip("#") if isinstance(value, str) else ""
            fix = f"write {digits} without quotes" if digits.isdecimal() else "write a whole number"
            self.wrong(key, "a whole number", fix)
            return None
        if value < least or value >= 2**53:
            self._out_of_range(key, value, f"a whole number from {least} to 2^53")
            return None
        return value

    def number(self, key: str, *, least: float) -> float | None:
        """A number."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(key, "a number", "write a plain number, such as 0.25")
            return None
        if value < least or value > 1e15:
            self._out_of_range(key, value, f"a number from {least:g} to 1e15")
            return None
        return float(value)

    def _out_of_range(self, key: str, value: float, expected: str) -> None:
        self.notes.add(
            FaultCode.BAD_VALUE,
            self.pointer(key),
            found=shown(value),
            expected=expected,
            fix="write such a number, or leave the field out",
        )

    def near_miss(self, key: str) -> str | None:
        """A field that nobody asked for and whose name resembles `key`."""
        unknown = [] if self.notes.is_full else [name for name in self.value if name not in self.known]
        near = difflib.get_close_matches(key, unknown, n=1, cutoff=0.7)
        return near[0] if near else None

    def keep_unknown(self) -> None:
        """Keep in `extra` what nobody asked for, with a warning."""
        for key, value in self.value.items():
            if key in self.known or value is None:
                continue
            pointer = self.pointer(key) if key not in self._borrowed else f"{self._borrowed[key]}{pointer_of((key,))}"
            self.notes.extra[pointer] = value
            near = [] if self.notes.is_full else difflib.get_close_matches(key, sorted(self.known), n=1, cutoff=0.75)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            self.notes.warn(f"{quoted(pointer)[1:-1]} is unknown and has no effect; it is kept under `extra`{hint}")


def _as_string(value: Any, *, listed: bool = False) -> str:
    if isinstance(value, dict) and listed and len(value) == 1:
        return "put quotes around the text: it contains ': ', which YAML reads as an object"
    if isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f'put quotes around it: "{text}"'
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return f"write {quoted(value[0])} without the list"
    return "write a string"
