"""From a document to a draft: one set of tasks, whatever the shape. Pure: no git, no roles, no clock.

Nothing is raised for a recognised shape: the draft carries the faults found so far, so that those that need git or
the roles can be added and a sender sees all of them at once. Pointers are those of the document as dropped.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from haikud.contracts.base import JsonObject
from haikud.contracts.ids import is_usable_id
from haikud.contracts.plan import RequestShape
from haikud.engine.admission.dependencies import check_dependencies
from haikud.engine.admission.fields import Fields, Notes, Stated
from haikud.engine.admission.identity import Identity, bad_id
from haikud.engine.admission.references import Named, check_references
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.shapes import Recognised
from haikud.engine.admission.task_fields import DraftTask, OuterFields, read_task
from haikud.engine.admission.values import quoted, shown
from haikud.roles.templates import TaskTemplate, TemplateError, fill_template

ENVELOPE_VERSION = "1.0"

ANY_RECEIVER = frozenset({"main-agent", "haikud", "haiku", "haiku-agent", "haiku agent", "agent", "daemon", "any", "*"})
"""Receivers that name no role: the default role is meant."""

_ALIASES = (("steps", "implementation_steps"), ("title", "task"))


@dataclass(frozen=True)
class Draft:
    """A request after normalising, before roles and repositories are known. `task_ids` go with `tasks`."""

    shape: RequestShape
    body_pointer: str  # of the object around the tasks: where a `repository` can be added
    tasks: list[DraftTask]
    task_ids: list[str]
    metadata: JsonObject
    notes: Notes
    named: list[list[Named]]  # the references to other tasks' results, task by task


def normalise(
    document: Mapping[str, Any],
    recognised: Recognised,
    identity: Identity,
    *,
    templates: Mapping[str, TaskTemplate],
    file_templates: Collection[str],
    most_tasks: int,
) -> Draft:
    """The draft of a recognised document, with all faults in its notes."""
    notes = Notes(faults=[identity.fault] if identity.fault else [])
    top = Fields(document, "", notes)
    receiver = _read_envelope(top)
    body = (top.inner("payload") if recognised.in_payload else None) or top
    levels = [body, top] if body is not top else [top]
    objects, outer_fields = _task_objects(recognised.shape, body, levels, templates)
    if recognised.shape is RequestShape.TEMPLATE_REQUEST:
        levels = [*objects, *levels[1:]]  # the filled task stands for the body
    for level in [*outer_fields, *levels]:  # stated ids are known, whichever of them counts
        for key in ("id", "task_id", "correlation_id"):
            level.known.add(key)
    outer = [OuterFields(level) for level in outer_fields]
    if len(objects) > most_tasks:
        _too_many(notes, objects, most_tasks)
        objects = objects[:most_tasks]
    tasks = [_with_receiver(read_task(one, outer, file_templates), receiver) for one in objects]
    if recognised.shape is RequestShape.TASK_PLAN:
        task_ids = _task_ids(tasks, notes)
    else:
        task_ids = [identity.plan_id for _ in tasks]
        for task in tasks:
            _note_other_id(task, identity, notes)
    check_dependencies({i: task.dependencies for i, task in zip(task_ids, tasks, strict=True)}, notes)
    around = [level for level in dict.fromkeys([*levels, *outer_fields]) if level not in objects]
    named = check_references(task_ids, tasks, objects, around, notes)
    metadata: JsonObject = {}
    for level in dict.fromkeys([*levels, *outer_fields]):
        metadata.update(level.object("metadata") or {})
    notes.keep_unknown()
    where = (outer_fields or [body])[0].at
    return Draft(recognised.shape, where, tasks, task_ids, metadata, notes, named)


def _read_envelope(top: Fields) -> Stated | None:
    """Read the envelope's own fields; the receiver, where it names a role."""
    version = top.text("version")
    if version not in {None, ENVELOPE_VERSION}:
        top.notes.warn(f"/version is {quoted(version or '')}; this daemon speaks {ENVELOPE_VERSION}")
    timestamp = top.text("timestamp")
    if timestamp:
        try:
            datetime.fromisoformat(timestamp)
        except ValueError:
            top.notes.warn(f"/timestamp {quoted(timestamp)} is no RFC 3339 time; it is not used")
    for key in ("sender", "message_type", "correlation_id"):
        top.text(key)
    receiver = top.stated("receiver")
    return None if receiver is None or receiver.text.lower() in ANY_RECEIVER else receiver


def _with_receiver(task: DraftTask, receiver: Stated | None) -> DraftTask:
    return dataclasses.replace(task, role=task.role or receiver)


def _task_objects(
    shape: RequestShape, body: Fields, levels: Sequence[Fields], templates: Mapping[str, TaskTemplate]
) -> tuple[list[Fields], list[Fields]]:
    """The objects that hold a task each, and those around them, the nearest first."""
    if shape is RequestShape.TASK_PLAN:
        plan = body if "tasks" in body.value else body.inner("task_plan")
        if plan is None:
            if not body.has("task_plan"):
                _no_tasks(body, "tasks" if "tasks" in body.value else "task_plan")
            return [], list(levels)
        return _listed_tasks(plan), [plan, *levels] if plan is not body else list(levels)
    if shape is RequestShape.TASK_REQUEST:
        task = body.inner("task")
        return [task] if task is not None else [], list(levels)
    if shape is RequestShape.TEMPLATE_REQUEST:
        filled = _filled(body, templates)
        return [filled] if filled is not None else [], list(levels[1:])
    if shape is RequestShape.AGENT_REQUEST and not body.has("task") and not body.has("operation"):
        body.notes.add(
            FaultCode.MISSING,
            body.pointer("task"),
            found="an agent request without a task",
            expected="the operation that the agent is to carry out",
            fix='add "task": "create_issue", or another operation of that role',
        )
    return [body], list(levels[1:])


def _listed_tasks(plan: Fields) -> list[Fields]:
    value = plan.raw("tasks")
    if value is None or value == []:
        _no_tasks(plan, "tasks")
        return []
    if not isinstance(value, list):
        plan.wrong("tasks", "a list of tasks", "write a list: [{...}]")
        return []
    objects = []
    for number, entry in enumerate(value):
        where = f"{plan.pointer('tasks')}/{number}"
        if isinstance(entry, dict):
            objects.append(Fields(entry, where, plan.notes))
        else:
            plan.notes.add(
                FaultCode.WRONG_TYPE,
                where,
                found=shown(entry),
                expected="an object with id and title",
                fix=f'write {{"title": {quoted(entry)}}}' if isinstance(entry, str) else 'write {"title": "..."}',
            )
    return objects


def _no_tasks(fields: Fields, key: str) -> None:
    near = fields.near_miss(key)
    fields.notes.add(
        FaultCode.MISSING,
        fields.pointer(key),
        found="no tasks",
        expected="at least one task",
        fix=f"rename {quoted(near)} to {key}" if near else 'add "tasks": [{"id": "task-1", "title": "..."}]',
    )


def _too_many(notes: Notes, objects: Sequence[Fields], most: int) -> None:
    notes.add(
        FaultCode.TOO_MANY_TASKS,
        objects[0].at.rpartition("/")[0],
        found=f"{len(objects)} tasks",
        expected=f"at most {most}",
        fix="split the plan, or raise max_tasks_per_plan in the settings",
    )


def _filled(body: Fields, templates: Mapping[str, TaskTemplate]) -> Fields | None:
    """The template's task with what the request states beside it laid over it."""
    notes = body.notes
    name = body.stated("template")
    variables = body.inner("variables")
    if name is None:
        stated = body.value.get("template")
        if stated is None or (isinstance(stated, str) and not stated.strip()):  # else its kind was noted already
            notes.add(
                FaultCode.MISSING,
                body.pointer("template"),
                found="no template's name",
                expected=f"one of {', '.join(sorted(templates))}",
                fix="name a template",
            )
        return None
    template = templates.get(name.text)
    if template is None:
        near = next(iter(difflib.get_close_matches(name.text, list(templates), n=1)), None)
        notes.add(
            FaultCode.UNKNOWN_TEMPLATE,
            name.pointer,
            found=quoted(name.text),
            expected=f"one of {', '.join(sorted(templates))}",
            fix=f"write {near}" if near else "name a known template, or put NAME.yaml into templates_dir",
        )
        return None
    if variables is None and body.has("variables"):
        return None
    given = variables.value if variables is not None else {}
    if variables is not None:
        variables.known.update(given)
    try:
        document = fill_template(template, given)
    except TemplateError as error:
        _bad_variables(body, error, template)
        return None
    own = {
        key: value for key, value in body.value.items() if key not in {"template", "variables"} and value is not None
    }
    for pair in _ALIASES:
        if any(key in own for key in pair):
            document = {key: value for key, value in document.items() if key not in pair}
    borrowed = {key: name.pointer for key in document if key not in own}
    notes.objects.remove(body)  # its fields are read from the filled task
    filled = Fields({**document, **own}, body.at, notes, borrowed=borrowed)
    filled.known.update(body.known)
    return filled


def _bad_variables(body: Fields, error: TemplateError, template: TaskTemplate) -> None:
    expected = f"exactly the variables {', '.join(template.variables)}" if template.variables else "no variables"
    fixes = [f"add {name}" for name in error.missing]
    for name in error.unused:
        near = next(iter(difflib.get_close_matches(name, list(error.missing), n=1)), None)
        fixes.append(f"rename {quoted(name)} to {near}" if near else f"mend or remove {quoted(name)}")
    body.notes.add(
        FaultCode.BAD_VARIABLES,
        body.pointer("variables"),
        found=str(error),
        expected=expected,
        fix="; ".join(fixes) or "write texts or numbers",
    )


def _task_ids(tasks: Sequence[DraftTask], notes: Notes) -> list[str]:
    """The ids of a plan's tasks: stated ones checked, missing ones task-1, task-2, ... by their place."""
    stated = {task.stated_id for task in tasks if isinstance(task.stated_id, str)}
    ids: list[str] = []
    seen: dict[str, str] = {}
    for number, task in enumerate(tasks, 1):
        value = task.stated_id
        if value is None or not (isinstance(value, str) and is_usable_id(value)):
            if value is not None:
                notes.faults.append(bad_id(task.id_pointer, value))
            ids.append(_free_task_id(number, stated | set(ids)))
            continue
        if value in seen:
            notes.add(
                FaultCode.DUPLICATE_ID,
                task.id_pointer,
                found=f"the id {quoted(value)}, which {seen[value]} has already",
                expected="ids that are unique within the plan",
                fix=f"write {_free_task_id(number, stated | set(ids))}",
            )
            ids.append(_free_task_id(number, stated | set(ids)))
            continue
        seen[value] = task.id_pointer
        ids.append(value)
    return ids


def _free_task_id(number: int, taken: Collection[str]) -> str:
    candidate, suffix = f"task-{number}", 1
    while candidate in taken:
        suffix += 1
        candidate = f"task-{number}-{suffix}"
    return candidate


def _note_other_id(task: DraftTask, identity: Identity, notes: Notes) -> None:
    value = task.stated_id
    if isinstance(value, str) and identity.states_id and value != identity.plan_id:
        notes.warn(f"{task.id_pointer} {quoted(value)} is not used: the plan's id is {identity.plan_id}")
