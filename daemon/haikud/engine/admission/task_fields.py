"""One task of a request, read from its object: the same fields in every shape. Pure.

Fields that a task does not state come from the objects around it (`outer`, the nearest first): role, model, priority,
repository and the context. What cannot be known without git or the roles stays as stated, with its pointer.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from haikud.contracts.base import JsonObject
from haikud.contracts.plan import FileSpec, TaskContext
from haikud.contracts.states import Priority
from haikud.engine.admission.fields import Fields, Notes, Stated
from haikud.engine.admission.paths import checked_path
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.step_fields import read_steps
from haikud.engine.admission.values import has_control_characters, quoted, shown
from haikud.engine.attempts.references import is_reference, scan

_CONTEXT_TEXTS = ("project_type", "test_command", "lint_command", "setup_command")
_PRIORITY_WORDS = {
    "urgent": "critical",
    "asap": "critical",
    "p0": "blocker",
    "p1": "critical",
    "p2": "high",
    "p3": "medium",
    "p4": "low",
    "normal": "medium",
    "minor": "low",
    "major": "high",
}


@dataclass(frozen=True)
class DraftTask:
    """A task before roles and repositories are known."""

    stated_id: Any  # not checked yet
    id_pointer: str
    pointer: str
    title: str
    description: str
    type: str
    priority: Priority
    dependencies: tuple[Stated, ...]
    role: Stated | None
    operation: Stated | None
    params: JsonObject
    params_pointer: str
    files: tuple[FileSpec, ...]
    steps: tuple[str, ...]
    optional_steps: tuple[int, ...]
    tests: tuple[str, ...]
    success_criteria: tuple[str, ...]
    context: TaskContext
    repository: Stated | None
    main_branch: Stated | None
    issue_number: int | None
    issue_from: str | None
    model: Stated | None
    max_cost_usd: float | None


@dataclass(frozen=True)
class StatedContext:
    """The context that one object states."""

    texts: dict[str, str]
    repository: Stated | None = None
    main_branch: Stated | None = None
    issue_number: int | None = None
    issue_from: str | None = None  # the reference that names it
    files: list[str] | None = None
    optional_tests: list[str] | None = None
    extra: JsonObject | None = None


def read_context(fields: Fields) -> StatedContext:
    """The context at one level: an object `context`, and its fields beside it."""
    inner = fields.inner("context")
    levels = [level for level in (inner, fields) if level is not None]
    texts: dict[str, str] = {}
    for key in _CONTEXT_TEXTS:
        for level in levels:
            text = level.text(key)
            if text is not None:
                texts.setdefault(key, text)
    repository = next((path for path in [level.stated_path("repository") for level in levels] if path), None)
    main_branch = _first_stated(levels, "main_branch")
    named = [level for level in levels if is_reference(level.value.get("issue_number"))]
    issue_number = _first_integer([level for level in levels if level not in named], "issue_number")
    issue_from = next((level.text("issue_number") for level in named), None)
    optional_tests = None
    for level in levels:
        stated = level.texts("optional_test_commands")
        if optional_tests is None and level.has("optional_test_commands"):
            optional_tests = [one.text for one in stated]
    files = None
    if inner is not None and inner.has("files"):
        paths = [checked_path(stated, fields.notes) for stated in inner.texts("files")]
        files = [path for path in paths if path]
    extra = _rest(inner) if inner is not None else None
    return StatedContext(texts, repository, main_branch, issue_number, issue_from, files, optional_tests, extra)


def _rest(inner: Fields) -> JsonObject:
    """What a context says beyond what haikud knows: the agent gets it as it is."""
    rest = {key: value for key, value in inner.value.items() if key not in inner.known and value is not None}
    for key in rest:
        inner.known.add(key)
        inner.notes.warn(f"{inner.pointer(key)} has no meaning to haikud; the agent gets it as it is")
    return rest


def _context_in_params(params: JsonObject) -> StatedContext:
    """What an operation's params say about the project: the last to be asked, and the params keep it."""
    return StatedContext({key: params[key].strip() for key in _CONTEXT_TEXTS if isinstance(params.get(key), str)})


def _first_stated(levels: Sequence[Fields], key: str) -> Stated | None:
    found = [level.stated(key) for level in levels]
    return next((stated for stated in found if stated), None)


def _first_integer(levels: Sequence[Fields], key: str) -> int | None:
    found = [level.integer(key, least=1) for level in levels]
    return next((number for number in found if number is not None), None)


class OuterFields:
    """What an object around the tasks says for all of them. Read once, whatever the number of tasks."""

    def __init__(self, fields: Fields) -> None:
        self.context = read_context(fields)
        stated_roles = [fields.stated("role"), fields.stated("agent")]
        self.role = next((role for role in stated_roles if role), None)
        self.model = fields.stated("model")
        self.priority = read_priority(fields)


def read_task(fields: Fields, outer: Sequence[OuterFields], file_templates: Collection[str]) -> DraftTask:
    """One task. `outer` are the levels around it, the nearest first; `file_templates` the known names."""
    notes = fields.notes
    agent = fields.stated("agent")
    role = fields.stated("role") or agent
    operation = fields.stated("operation") or (fields.stated("task") if role else None)
    params = fields.object("params") or {}
    contexts = [read_context(fields), *(level.context for level in outer)]
    if operation:
        contexts.append(_context_in_params(params))
    priority = read_priority(fields)
    issue_number = next((c.issue_number for c in contexts if c.issue_number is not None), None)
    stated_id, id_pointer = _read_task_id(fields)
    steps, optional_steps = read_steps(fields)
    task = DraftTask(
        stated_id=stated_id,
        id_pointer=id_pointer,
        pointer=fields.at,
        title="",
        description=fields.text("description") or "",
        type=fields.line("type") or "feature",
        priority=priority or next((level.priority for level in outer if level.priority), Priority.MEDIUM),
        dependencies=_unique(fields.texts("dependencies", one_will_do=False), notes),
        role=role or next((level.role for level in outer if level.role), None),
        operation=operation,
        params=params,
        params_pointer=fields.pointer("params"),
        files=_read_files(fields, file_templates),
        steps=steps,
        optional_steps=optional_steps,
        tests=_plain(fields.texts("tests")),
        success_criteria=_plain(fields.texts("success_criteria")),
        context=_merged(contexts),
        repository=next((c.repository for c in contexts if c.repository), None),
        main_branch=next((c.main_branch for c in contexts if c.main_branch), None),
        issue_number=issue_number,
        issue_from=contexts[0].issue_from if contexts[0].issue_number is None else None,
        model=fields.stated("model") or next((level.model for level in outer if level.model), None),
        max_cost_usd=fields.number("max_cost_usd", least=0),
    )
    return _with_title(task, fields)


def _with_title(task: DraftTask, fields: Fields) -> DraftTask:
    """The task with its title; read last, when it is known which fields nobody asked for."""
    title = fields.line("title")
    if title is None and not fields.has("title"):
        if task.operation:
            title = _operation_title(task, task.operation.text)
        elif isinstance(fields.value.get("task"), str):
            title = fields.line("task")  # the guide's short delegation: {task: "Add ...", files, steps, tests}
    if title is None and not _has_fault(fields.notes, fields.pointer("title")):
        near = fields.near_miss("title")
        fields.notes.add(
            FaultCode.MISSING,
            fields.pointer("title"),
            found="no title" if not fields.has("title") else "an empty title",
            expected="a title: one line that says what is to be done",
            fix=f"rename {quoted(near)} to title" if near else 'add "title": "..."',
        )
    return dataclasses.replace(task, title=title or "")


def _operation_title(task: DraftTask, operation: str) -> str:
    """params.title, else the words of a free task, else `role: operation`."""
    own = task.params.get("title")
    if isinstance(own, str) and any(scan(own)):
        own = None  # what it names is not known yet
    if isinstance(own, str) and own.strip() and not has_control_characters(" ".join(own.split())):
        return " ".join(own.split())[:200]
    return operation if " " in operation or not task.role else f"{task.role.text}: {operation}"


def _has_fault(notes: Notes, pointer: str) -> bool:
    return any(fault.field == pointer for fault in notes.faults)


def _read_task_id(fields: Fields) -> tuple[Any, str]:
    """A task's id as stated in its own object, whatever its type, and where; None where it states none."""
    values = {key: fields.raw(key) for key in ("task_id", "id")}
    key = next((key for key, value in values.items() if value is not None), "id")
    return values[key], fields.pointer(key)


def read_priority(fields: Fields) -> Priority | None:
    """A priority, in any case."""
    stated = fields.stated("priority")
    if stated is None:
        return None
    word = stated.text.lower()
    if word in list(Priority):
        return Priority(word)
    near = _PRIORITY_WORDS.get(word) or next(iter(difflib.get_close_matches(word, list(Priority), n=1)), "medium")
    fields.notes.add(
        FaultCode.BAD_VALUE,
        stated.pointer,
        found=quoted(stated.text),
        expected=f"one of {', '.join(Priority)}",
        fix=f"write {near}",
    )
    return None


def _merged(contexts: Sequence[StatedContext]) -> TaskContext:
    """The nearest context's word on each field; an empty text takes a field away."""
    texts: dict[str, str] = {}
    extra: dict[str, Any] = {}
    for context in reversed(contexts):
        texts.update(context.texts)
        extra.update(context.extra or {})
    files = next((c.files for c in contexts if c.files is not None), [])
    optional = next((c.optional_tests for c in contexts if c.optional_tests is not None), [])
    commands = {key: text or None for key, text in texts.items()}
    return TaskContext(files=files, extra=extra, optional_test_commands=optional, **commands)


def _plain(stated: Sequence[Stated]) -> tuple[str, ...]:
    return tuple(s.text for s in stated)


def _unique(stated: Sequence[Stated], notes: Notes) -> tuple[Stated, ...]:
    kept: dict[str, Stated] = {}
    for one in stated:
        if kept.setdefault(one.text, one) is not one:
            notes.warn(f"{one.pointer} repeats {quoted(one.text)}")
    return tuple(kept.values())


def _read_files(fields: Fields, file_templates: Collection[str]) -> tuple[FileSpec, ...]:
    value = fields.raw("files")
    if value is None:
        return ()
    if not isinstance(value, list):
        fix = f"write [{quoted(value)}]" if isinstance(value, str) else "write a list: [...]"
        fields.wrong("files", "a list of paths, or of {path, operation, template}", fix)
        return ()
    kept: dict[str, FileSpec] = {}
    for number, entry in enumerate(value):
        where = f"{fields.pointer('files')}/{number}"
        spec = _read_file(entry, where, fields.notes, file_templates)
        if spec is None:
            continue
        if spec.path in kept:
            fields.notes.warn(f"{where} repeats {quoted(spec.path)}; the first one counts")
        kept.setdefault(spec.path, spec)
    return tuple(kept.values())


def _read_file(entry: Any, where: str, notes: Notes, file_templates: Collection[str]) -> FileSpec | None:
    if isinstance(entry, str):
        path = checked_path(Stated(entry.strip(), where), notes)
        return FileSpec(path=path) if path else None
    if not isinstance(entry, dict):
        notes.add(
            FaultCode.WRONG_TYPE,
            where,
            found=shown(entry),
            expected="a path, or an object with path, operation and template",
            fix='write "src/app.py", or {"path": "src/app.py", "operation": "create"}',
        )
        return None
    fields = Fields(entry, where, notes)
    text = fields.text("path")
    operation, template = fields.line("operation"), fields.line("template")
    if text is None:
        if not fields.has("path"):
            near = fields.near_miss("path") or next((k for k in ("file", "name", "filename") if k in entry), None)
            fix = f"rename {quoted(near)} to path" if near else 'add "path": "src/app.py"'
            notes.add(FaultCode.MISSING, f"{where}/path", found="no path", expected="the file's path", fix=fix)
        return None
    if template and template not in file_templates:
        near = next(iter(difflib.get_close_matches(template, list(file_templates), n=1)), None)
        hint = f"; did you mean `{near}`?" if near else ""
        notes.warn(
            f"{where}/template: no file template is named {quoted(template)}; the agent gets the name as a hint{hint}"
        )
    path = checked_path(Stated(text, f"{where}/path"), notes)
    return FileSpec(path=path, operation=operation, template=template) if path else None
