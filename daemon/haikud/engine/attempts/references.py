r"""References: another task's result named in a task's texts, `{{ tasks.task-1.payload.issue_number }}`. Pure.

A reference is `tasks.ID.` and then `status`, `payload.FIELD[.SUB...]` or `metrics.FIELD` of that task's response; a
number counts into a list, from 0. `\{{ tasks.` means the braces themselves. Admission checks who is named
(admission/references.py); the values are put in when the attempt starts, and plan.json stays as it was.

A value is another agent's word: data, never structure. It is put in once and never looked into for references; in a
text it stands on one line, without control characters and cut at MOST_CHARACTERS; a text of params or of the context
that is nothing but one reference becomes the value with its own type. Where there is no such value, `Unresolved`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from haikud.contracts.base import JsonObject
from haikud.contracts.plan import Task

MOST_CHARACTERS = 4_000
"""Of a value that is put into a text; the rest is cut off, and the cut shows."""

MOST_VALUE_CHARACTERS = 65_536
"""Of a value that is put in with its own type, as JSON: cutting it would break it."""

ROOTS = ("status", "payload", "metrics")

_BEGINNING = re.compile(r"(\\?)\{\{\s*tasks\s*\.")
_WHOLE = re.compile(r"\{\{\s*tasks\.([A-Za-z0-9_-]+)((?:\.[A-Za-z0-9_-]+)+)\s*\}\}")
_LINE_BREAK = re.compile(r"[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # `\s*` around it: a row of blanks takes hours

Answer = Callable[[str], Mapping[str, Any] | None]
"""Task id -> its response as JSON, or None where there is none."""


class Unresolved(Exception):  # noqa: N818 - says what is the case
    """A reference to something that the other task's response does not have; the message names what it has."""


@dataclass(frozen=True)
class Reference:
    """What a text names. `written` is how; `path` begins with one of ROOTS where it can be resolved at all."""

    written: str
    task_id: str
    path: tuple[str, ...]


def scan(text: str) -> Iterator[tuple[str, Reference | None]]:
    """Each beginning of a reference in a text as it is written, and what it names; None where it is malformed."""
    for beginning in _BEGINNING.finditer(text):
        if not beginning[1]:
            found = _WHOLE.match(text, beginning.start())
            yield (found[0], _reference(found)) if found else (_excerpt(text, beginning.start()), None)


def _reference(found: re.Match[str]) -> Reference:
    return Reference(found[0], found[1], tuple(found[2][1:].split(".")))


def _excerpt(text: str, start: int) -> str:
    end = text.find("}}", start)
    return text[start : end + 2] if -1 < end < start + 200 else text[start : start + 60]


def is_reference(value: object) -> bool:
    """Whether a value is a text that is one reference and nothing else."""
    return isinstance(value, str) and _WHOLE.fullmatch(value.strip()) is not None


def has_references(task: Task) -> bool:
    """Whether there is anything in a task's texts to be put in, or an escape to be taken out."""
    return any(_BEGINNING.search(text) for text in _texts_in(_resolvable(task)))


def resolve_task(task: Task, answer: Answer) -> Task:
    """The task with every reference in its texts replaced by its value. Raises Unresolved."""
    new = _Resolving(answer)
    context = new.inside(task.context.extra, "context")
    return task.model_copy(
        update={
            "description": new.text(task.description, "description"),
            "steps": [new.text(text, f"steps/{n}") for n, text in enumerate(task.steps)],
            "tests": [new.text(text, f"tests/{n}") for n, text in enumerate(task.tests)],
            "success_criteria": [
                new.text(text, f"success_criteria/{n}") for n, text in enumerate(task.success_criteria)
            ],
            "params": new.inside(task.params, "params"),
            "context": task.context.model_copy(update={"extra": context}),
            **({"issue_number": new.number(task.issue_from, "issue_number")} if task.issue_from else {}),
        }
    )


def _resolvable(task: Task) -> list[Any]:
    return [
        task.description,
        task.steps,
        task.tests,
        task.success_criteria,
        task.params,
        task.context.extra,
        task.issue_from,
    ]


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


class _Resolving:
    """One task's references on their way; each response is asked for once."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._answers: dict[str, Mapping[str, Any] | None] = {}

    def text(self, text: str, where: str) -> str:
        parts: list[str] = []
        at = 0
        for beginning in _BEGINNING.finditer(text):
            if beginning.start() < at:
                continue
            found = None if beginning[1] else _WHOLE.match(text, beginning.start())
            parts.append(text[at : beginning.start()])
            if found is None:  # escaped; a malformed one is never admitted, and a spool may be older than the rule
                parts.append(beginning[0].removeprefix("\\"))
                at = beginning.end()
            else:
                parts.append(in_words(self._value(_reference(found), where)))
                at = found.end()
        return "".join([*parts, text[at:]])

    def inside(self, value: JsonObject, where: str) -> JsonObject:
        return {key: self._typed(part, f"{where}/{key}") for key, part in value.items()}

    def number(self, text: str, where: str) -> int:
        value = self._typed(text, where)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        raise Unresolved(f"{where} names {text}, which is {in_words(value)[:60]!r} and no number of an issue")

    def _typed(self, value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return self.inside(value, where)
        if isinstance(value, list):
            return [self._typed(part, f"{where}/{number}") for number, part in enumerate(value)]
        if not isinstance(value, str):
            return value
        alone = _WHOLE.fullmatch(value.strip())
        if alone is None:
            return self.text(value, where)
        found = self._value(_reference(alone), where)
        size = len(json.dumps(found, ensure_ascii=False))
        if size > MOST_VALUE_CHARACTERS:
            most = MOST_VALUE_CHARACTERS
            raise Unresolved(f"{where} names {alone[0]}: {size} characters of JSON; at most {most} are put in")
        return _cleaned(found)

    def _value(self, reference: Reference, where: str) -> Any:
        task_id = reference.task_id
        if task_id not in self._answers:
            self._answers[task_id] = self._answer(task_id)
        answer = self._answers[task_id]
        says = f"{where} names {reference.written}"
        if answer is None:
            raise Unresolved(f"{says}, but there is no response of {task_id}")
        value: Any = {root: answer.get(root) for root in ROOTS}
        for number, part in enumerate(reference.path):
            inner = _part_of(value, part)
            if inner is None:
                parent = ".".join((task_id, *reference.path[:number]))
                known = value.keys() if isinstance(value, dict) else ()
                is_null = "is null" if part in known else "is not there"
                raise Unresolved(f"{says}: {parent}.{part} {is_null}; {parent} has {_what(value)}")
            value = inner
        return value


def _part_of(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isascii() and part.isdecimal() and len(part) < 10 and int(part) < len(value):
        return value[int(part)]
    return None


def _what(value: Any) -> str:
    """What can be named in a value: its fields that have one."""
    if isinstance(value, dict):
        names = [str(key)[:60] for key, part in value.items() if part is not None]
        more = f" and {len(names) - 30} more" if len(names) > 30 else ""
        return f"{', '.join(names[:30])}{more}" if names else "nothing"
    return f"a list of {len(value)}" if isinstance(value, list) else "no fields"


def in_words(value: Any) -> str:
    """A value as it stands in a text: one line, nothing in it that a terminal or a line-wise reader would act on."""
    if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
        text = ", ".join(_word(part) for part in value)
    else:
        text = _word(value)
    lines = (line.strip() for line in _LINE_BREAK.split(text))
    text = _clean(" ".join(line for line in lines if line))
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} [... cut: {len(text)} characters in all]"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean(str(key)): _cleaned(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str) -> str:
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
