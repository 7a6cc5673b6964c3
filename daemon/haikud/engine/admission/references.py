"""References to other tasks' results, checked when a plan is admitted: who is named, and where. Pure.

A task may name the results of the tasks that it depends on, directly or through others, in its texts: description,
steps, tests, success_criteria, params and what its context says to the agent; and its issue_number may be one. Nowhere
else: a title is shown before anything has run, paths, ids, roles and repositories are checked now, and a command would
run another agent's words. Of a built-in agent's answer the fields are known, so an unknown one is a fault, and so is
one that will have no value; what an operation or a command agent answers beyond them is seen at start.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haikud.contracts.completion import CompletionPayload
from haikud.contracts.envelope import Metrics
from haikud.contracts.plan import TaskContext
from haikud.engine.admission.fields import Fields, Notes
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.task_fields import DraftTask
from haikud.engine.admission.values import pointer_of, quoted
from haikud.engine.attempts.references import ROOTS, Reference, is_reference, scan

MOST_REFERENCES = 100
"""Of one task: each may be replaced by some thousand characters."""

_TEXTS = frozenset({"description", "steps", "implementation_steps", "tests", "success_criteria"})
_FIXED_CONTEXT = frozenset({*TaskContext.model_fields, "repository", "main_branch", "issue_number"})
_IS_COMMAND = re.compile(r"(.*_)?commands?")
_AS_TEXT = "write \\{{ where the braces themselves are meant"


@dataclass(frozen=True)
class Named:
    """A reference and where the request states it."""

    reference: Reference
    pointer: str


@dataclass(frozen=True)
class _Found:
    pointer: str
    written: str
    reference: Reference | None  # None: malformed
    misplaced: str = ""  # why it cannot stand there


def check_references(
    task_ids: Sequence[str],
    tasks: Sequence[DraftTask],
    objects: Sequence[Fields],
    outer: Sequence[Fields],
    notes: Notes,
) -> list[list[Named]]:
    """Note what is wrong with each reference; those that may be resolved, task by task.

    `objects` are the tasks' own objects, `outer` those around them.
    """
    needs = {task_id: [d.text for d in task.dependencies] for task_id, task in zip(task_ids, tasks, strict=True)}
    for fields in outer:
        for key in ("context", *_FIXED_CONTEXT):
            for found in _in_value(
                fields.value.get(key), fields.pointer(key), "it would stand in every task's context"
            ):
                _misplaced(found, notes)
    return [_check_task(task_id, fields, needs, notes) for task_id, fields in zip(task_ids, objects, strict=True)]


def fields_without_value(task: DraftTask, issues: str) -> dict[str, str]:
    """The fields that the answer of a task that is no operation will not have, and why. `issues`: the setting."""
    absent = {"error_report": "a task that succeeded has none"}
    if issues == "none":
        why = "the settings give tasks no issue (issues: none)"
        absent["issue_url"] = why
        if task.issue_number is None and task.issue_from is None:
            absent["issue_number"] = why
    if not task.context.test_command:
        absent["tests_passing"] = "it has no test_command"
    return absent


def check_payload_fields(
    named: Mapping[str, Sequence[Named]],
    closed: Collection[str],
    absent: Mapping[str, Mapping[str, str]],
    notes: Notes,
) -> None:
    """Note payload fields that will have no value: better now than when the other task has spent its money.

    `named`: task id -> its references; `closed`: tasks whose answers have no fields but the standard ones; `absent`:
    task id -> its fields without a value, and why.
    """
    known = list(CompletionPayload.model_fields)
    for references in named.values():
        for one in references:
            task_id, (root, *rest) = one.reference.task_id, one.reference.path
            if root != "payload":
                continue
            if task_id in closed and rest[0] not in known:
                _unknown_field(one, "payload", rest[0], known, notes)
            elif rest[0] in absent.get(task_id, {}):
                _no_value(one, rest[0], absent[task_id][rest[0]], notes)


def _check_task(task_id: str, fields: Fields, needs: Mapping[str, Sequence[str]], notes: Notes) -> list[Named]:
    named: list[Named] = []
    reachable: set[str] | None = None
    for count, found in enumerate(_in_task(fields), 1):
        if count > MOST_REFERENCES:
            notes.add(
                FaultCode.BAD_REFERENCE,
                fields.at,
                found=f"more than {MOST_REFERENCES} references in one task",
                expected=f"at most {MOST_REFERENCES}",
                fix="name whole objects, such as {{ tasks.ID.payload.evidence }}; the agent has its dependencies' "
                "answers in HAIKUD_DEPENDENCIES_FILE too",
            )
            break
        if found.misplaced:
            _misplaced(found, notes)
            continue
        if found.reference is None or not _is_well_formed(found.reference):
            _malformed(found, notes)
            continue
        if reachable is None:
            reachable = _all_needed(task_id, needs)
        one = Named(found.reference, found.pointer)
        if found.reference.task_id not in reachable:
            _not_needed(task_id, one, needs, reachable, notes)
        elif found.reference.path[0] == "metrics" and found.reference.path[1] not in Metrics.model_fields:
            _unknown_field(one, "metrics", found.reference.path[1], list(Metrics.model_fields), notes)
        else:
            named.append(one)
    return named


def _in_task(fields: Fields) -> Iterator[_Found]:
    for key, value in fields.value.items():
        pointer = fields.pointer(key)
        if key in _TEXTS or (key == "issue_number" and is_reference(value)):
            yield from _in_value(value, pointer)
        elif key == "params" and isinstance(value, dict):
            for name, part in value.items():
                why = "the repository is looked at now" if name == "repository" else ""
                yield from _in_value(part, f"{pointer}{pointer_of((name,))}", why or _why_no_command(name))
        elif key == "context" and isinstance(value, dict):
            for name, part in value.items():
                is_free = name not in _FIXED_CONTEXT or (name == "issue_number" and is_reference(part))
                why = "" if is_free else _why_fixed(name)
                yield from _in_value(part, f"{pointer}{pointer_of((name,))}", why)
        elif key in fields.known:
            yield from _in_value(value, pointer, _why_fixed(key))


def _in_value(value: Any, pointer: str, misplaced: str = "") -> Iterator[_Found]:
    if isinstance(value, str):
        if "{{" in value:
            for written, reference in scan(value):
                yield _Found(pointer, written, reference, misplaced)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _in_value(part, f"{pointer}/{number}", misplaced)
    elif isinstance(value, dict):
        for key, part in value.items():
            where = f"{pointer}{pointer_of((key,))}"
            yield from _in_value(key, where, misplaced or "names of fields are fixed")
            yield from _in_value(part, where, misplaced or _why_no_command(key))


def _why_no_command(key: str) -> str:
    return _why_fixed(key) if _IS_COMMAND.fullmatch(key) else ""


def _why_fixed(key: str) -> str:
    if _IS_COMMAND.fullmatch(key):
        return "a command with another agent's words in it would run them"
    if key in {"title", "task"}:
        return "a title is shown before anything has run"
    return f"`{key}` is checked when the plan is admitted, before anything has run"


def _is_well_formed(reference: Reference) -> bool:
    root, *rest = reference.path
    lengths = {"status": len(rest) == 0, "payload": len(rest) > 0, "metrics": len(rest) == 1}
    return root in ROOTS and lengths[root]


def _all_needed(task_id: str, needs: Mapping[str, Sequence[str]]) -> set[str]:
    """The tasks that must have succeeded before this one starts. Bears cycles, which are faults of their own."""
    reached: set[str] = set()
    waiting = list(needs[task_id])
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting.extend(needs.get(one, ()))
    reached.discard(task_id)
    return reached


def _misplaced(found: _Found, notes: Notes) -> None:
    notes.add(
        FaultCode.MISPLACED_REFERENCE,
        found.pointer,
        found=f"the reference {quoted(found.written)}: {found.misplaced}",
        expected="references in description, steps, tests, success_criteria, params or a task's own context",
        fix=f"say it in the task's description or steps; {_AS_TEXT}",
    )


def _malformed(found: _Found, notes: Notes) -> None:
    notes.add(
        FaultCode.BAD_REFERENCE,
        found.pointer,
        found=f"{quoted(found.written)}, which is no whole reference",
        expected="{{ tasks.ID.status }}, {{ tasks.ID.payload.FIELD }} or {{ tasks.ID.metrics.FIELD }}",
        fix=f"write such as {{{{ tasks.task-1.payload.issue_number }}}}; {_AS_TEXT}",
    )


def _not_needed(
    task_id: str, one: Named, needs: Mapping[str, Sequence[str]], reachable: set[str], notes: Notes
) -> None:
    named = one.reference.task_id
    others = sorted(reachable)
    if named == task_id:
        why, fix = "the task itself", "name a task that this one depends on"
    elif named in needs:
        why, fix = "which this task does not depend on", f"add {quoted(named)} to its dependencies"
    else:
        near = [] if notes.is_full else difflib.get_close_matches(named, list(needs), n=1)
        why = "which is no task of this plan"
        fix = f"write {near[0]}" if near else "name a task of this plan, and add it to the dependencies"
    notes.add(
        FaultCode.UNKNOWN_REFERENCE,
        one.pointer,
        found=f"{quoted(one.reference.written)}: {named}, {why}",
        expected=f"one of the tasks that it depends on ({', '.join(others[:8]) or 'there are none'})",
        fix=f"{fix}; {_AS_TEXT}",
    )


def _no_value(one: Named, field: str, why: str, notes: Notes) -> None:
    fix = "name another field"
    if field.startswith("issue"):
        fix = "set issues: local or github in haikud.yaml, or let a task of its own create the issue (create_issue)"
    elif field == "tests_passing":
        fix = f"give {one.reference.task_id} a test_command"
    notes.add(
        FaultCode.UNKNOWN_REFERENCE,
        one.pointer,
        found=f"{quoted(one.reference.written)}: the answer of {one.reference.task_id} will have no {field}: {why}",
        expected="a field that has a value",
        fix=fix,
    )


def _unknown_field(one: Named, root: str, field: str, known: list[str], notes: Notes) -> None:
    near = difflib.get_close_matches(field, known, n=1)
    notes.add(
        FaultCode.UNKNOWN_REFERENCE,
        one.pointer,
        found=f"{quoted(one.reference.written)}: an answer's {root} has no {quoted(field)}",
        expected=f"one of {', '.join(known)}",
        fix=f"write {near[0]}" if near else "name one of those",
    )
