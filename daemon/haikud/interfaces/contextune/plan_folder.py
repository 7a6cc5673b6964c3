"""A folder with `plan.yaml` and `tasks/ID.md`: read, and turned into one request of shape 2.

`import_folder` is all that others call. Tasks whose status says that they are completed are left out, and count as done
for those that depend on them. What has no field in a request is kept under `metadata.contextune`. Only files beneath
the folder are read. Raises `CannotBeAdmitted` with every fault, each with file and line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from haikud.contracts.error_report import FieldFault
from haikud.contracts.names import id_from_stem
from haikud.engine.admission.documents import DocumentError, decode
from haikud.engine.admission.rejection import FaultCode, describe_fault, make_fault
from haikud.engine.admission.values import shown
from haikud.interfaces.contextune.places import yaml_lines
from haikud.interfaces.contextune.task_file import TaskText, read_task_text, split_front_matter
from haikud.interfaces.given import CannotBeAdmitted, Given
from haikud.interfaces.plain import one_line
from haikud.interfaces.trouble import Trouble
from haikud.roles.plain_yaml import BadNumber, OddKeys, PlainYamlError, read_plain_yaml

PLAN_NAMES = ("plan.yaml", "plan.yml")

MOST_BYTES = 1_048_576
"""Of one file; the request as a whole has a limit of its own."""

_DONE = {"completed", "complete", "done", "merged"}
_KNOWN_STATUS = _DONE | {"pending", "ready", "todo", "in_progress", "in-progress", "blocked", ""}
_PASSED_PLAN = ("id", "context", "repository", "main_branch", "role", "model")
_PASSED_TASK = ("type", "role", "model", "max_cost_usd", "issue_number", "context")
_OF_INDEX = {"id", "name", "title", "file", "priority", "dependencies", "status", "description"}
_TASKS = "/task_plan/tasks"
_LINE_WITHIN = re.compile(r" (at|in) line \d+(, column \d+)?")


def import_folder(folder: Path) -> Given:
    """The request that a plan folder stands for. Raises Trouble."""
    name = next((name for name in PLAN_NAMES if (folder / name).is_file()), None)
    if name is None:
        near = sorted(str(path.parent) for path in folder.glob("*/plan.yaml"))
        hint = f"; there is one in {', '.join(near[:3])}" if near else ""
        raise Trouble(
            f"{folder} is a folder without a plan.yaml{hint}",
            advice="name a request's file, or a Contextune plan folder (plan.yaml and tasks/ID.md)",
        )
    return _Import(folder, name).run()


@dataclass
class _Entry:
    """A task, as the index and its own file have it."""

    number: int  # its place in the index
    index: dict[str, Any]
    front: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  # of the front matter's values
    text: TaskText = field(default_factory=TaskText)
    file: str = ""

    @property
    def id(self) -> str:
        found = self.index.get("id") or self.front.get("id")
        return found if isinstance(found, str) else PurePosixPath(self.file).stem

    @property
    def status(self) -> str:
        found = self.front.get("status", self.index.get("status"))
        return str(found if found is not None else "").strip().lower()

    @property
    def is_done(self) -> bool:
        return self.status in _DONE


class _Import:
    def __init__(self, folder: Path, plan_name: str) -> None:
        self.folder = folder
        self.plan_name = plan_name
        self.faults: list[FieldFault] = []
        self.notes: list[str] = []
        self.places: dict[str, str] = {"": plan_name, "/task_plan": plan_name}
        self.index_lines: dict[str, int] = {}

    def run(self) -> Given:
        plan = self._yaml_object(self._text(self.plan_name, self.plan_name), self.plan_name)
        entries = [] if plan is None else self._entries(plan)
        if self.faults:
            raise self._refusal()
        open_ones = [entry for entry in entries if not entry.is_done]
        done = {entry.id for entry in entries if entry.is_done}
        for entry in entries:
            if entry.is_done:
                self.notes.append(f"{entry.file}: {entry.id} is {entry.status}: left out, and counts as done")
        if plan is None or not open_ones:
            raise Trouble(
                f"{self.folder}: all of its {len(entries)} tasks are completed", advice="there is nothing to do"
            )
        tasks = [self._task(plan, entry, done, place) for place, entry in enumerate(open_ones)]
        self._name_unlisted(entries)
        document = {"task_plan": self._around(plan, tasks, entries)}
        data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        return Given(f"{self._stem(plan)}.json", data, dict(self.places), tuple(self.notes))

    # -- reading ----------------------------------------------------------------------------------------------------

    def _fault(self, place: str, found: str, expected: str, fix: str) -> None:
        self.faults.append(make_fault(FaultCode.BAD_VALUE, place, found=found, expected=expected, fix=fix))

    def _refusal(self) -> CannotBeAdmitted:
        told = [one_line(describe_fault(fault)) for fault in self.faults]
        return CannotBeAdmitted(
            "\n  ".join([f"{self.folder} cannot be read as a plan; nothing was dropped:", *told]),
            self.faults,
            advice="mend it and submit it again",
        )

    def _text(self, name: str, place: str) -> str | None:
        """A file's text; a fault where it is no plain file beneath the folder, or no text."""
        path = self.folder / name
        inside = path.resolve().is_relative_to(self.folder.resolve())
        if not inside or not path.is_file():
            what = "a path that leads out of the folder" if not inside else f"{name}, which is not there"
            self._fault(place, what, "a file of the plan folder", "mend the path, or write that file")
            return None
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            self._fault(name, f"more than {MOST_BYTES} bytes", "a plan file", "shorten it")
            return None
        try:
            return decode(data)
        except DocumentError as error:
            self.faults += [one.model_copy(update={"field": name}) for one in error.faults]
            return None

    def _yaml_object(self, text: str | None, name: str, first: int = 1) -> dict[str, Any] | None:
        """An object of YAML and, beside it, its lines in `index_lines` (plan.yaml only)."""
        if text is None:
            return None
        try:
            loaded = read_plain_yaml(text)
        except PlainYamlError as error:
            place = f"{name}:{error.line + first - 1}" if error.line else name
            found = _LINE_WITHIN.sub("", error.found)  # counted from the front matter's first line
            self._fault(place, found, "YAML", error.fix)
            return None
        if not isinstance(loaded, dict):
            self._fault(f"{name}:{first}", shown(loaded), "an object: `key: value` lines", "write one")
            return None
        lines = yaml_lines(text, first)
        for pointer, what in _odd_values(loaded):
            self._fault(f"{name}:{lines.get(pointer, first)}", what, "plain keys and values, each key once", "mend it")
        if name == self.plan_name:
            self.index_lines = lines
        return loaded

    def _entries(self, plan: dict[str, Any]) -> list[_Entry]:
        listed = plan.get("tasks")
        if not isinstance(listed, list) or not listed:
            place = f"{self.plan_name}:{self.index_lines.get('/tasks', 1)}"
            self._fault(
                place, shown(listed), "a list of tasks", 'write tasks: [{id: "task-0", file: "tasks/task-0.md"}]'
            )
            return []
        entries = [self._entry(number, one) for number, one in enumerate(listed)]
        return [entry for entry in entries if entry is not None]

    def _entry(self, number: int, listed: Any) -> _Entry | None:
        place = self._of_index(number)
        index = {"id": listed} if isinstance(listed, str) else listed
        if not isinstance(index, dict):
            self._fault(place, shown(listed), "an object with id, name and file", 'write {id: "task-0", ...}')
            return None
        file = index.get("file") or f"tasks/{index.get('id')}.md"
        if not isinstance(file, str):
            self._fault(self._of_index(number, "file"), shown(file), "a path such as tasks/task-0.md", "write one")
            return None
        entry = _Entry(number, index, file=file)
        text = self._text(file, self._of_index(number, "file"))
        if text is None:
            return None
        parts = split_front_matter(text)
        if parts is None:
            dashes = text.startswith("---")
            found = "front matter that does not end" if dashes else "no front matter"
            self._fault(f"{file}:1", found, "front matter between two lines of ---", "write it: id, priority, status")
            return None
        front, body, first = parts
        if front.strip():
            entry.front = self._yaml_object(front, file, 2) or {}
            entry.lines = yaml_lines(front, 2) if entry.front else {}
        entry.text = read_task_text(body, first)
        self._check_entry(entry)
        return entry

    def _check_entry(self, entry: _Entry) -> None:
        theirs, ours = entry.front.get("id"), entry.index.get("id")
        if theirs is not None and ours is not None and theirs != ours:
            place = f"{entry.file}:{entry.lines.get('/id', 1)}"
            self._fault(place, shown(theirs), f"{ours}, as {self.plan_name} has it", "make them agree")
        if entry.status not in _KNOWN_STATUS:
            self.notes.append(f"{self._of_front(entry, 'status')}: status {entry.status!r} is unknown; the task is run")
        elif entry.status == "blocked":
            self.notes.append(
                f"{self._of_front(entry, 'status')}: {entry.id} is marked blocked; it is run all the same"
            )
        self.notes += [f"{entry.file}:{line}: {what}" for line, what in entry.text.remarks]

    def _name_unlisted(self, entries: list[_Entry]) -> None:
        listed = {str(PurePosixPath(entry.file)) for entry in entries}
        for path in sorted((self.folder / "tasks").glob("*.md")):
            name = f"tasks/{path.name}"
            if name not in listed:
                self.notes.append(f"{name} is not in {self.plan_name}'s list of tasks: left out")

    # -- places -----------------------------------------------------------------------------------------------------

    def _of_index(self, number: int, key: str = "") -> str:
        """Where an entry of plan.yaml stands, or its field."""
        at = f"/tasks/{number}"
        line = self.index_lines.get(f"{at}/{key}") if key else None
        return f"{self.plan_name}:{line or self.index_lines.get(at, 1)}"

    def _of_front(self, entry: _Entry, key: str) -> str:
        """Where a task states a field: in its own file, else in plan.yaml."""
        line = entry.lines.get(f"/{key}")
        return f"{entry.file}:{line}" if line else self._of_index(entry.number, key)

    # -- converting -------------------------------------------------------------------------------------------------

    def _task(self, plan: dict[str, Any], entry: _Entry, done: set[str], place: int) -> dict[str, Any]:
        at, text = f"{_TASKS}/{place}", entry.text
        self.places[at] = f"{entry.file}:1"
        self.places[f"{at}/id"] = self._of_index(entry.number, "id")
        self.places[f"{at}/title"] = self._of_index(entry.number, "name")
        task: dict[str, Any] = {"id": entry.id, "title": _title(entry)}
        for key in ("priority", *_PASSED_TASK):
            value = entry.front.get(key, entry.index.get(key))
            if value is not None:
                task[key] = value
                self.places[f"{at}/{key}"] = self._of_front(entry, key)
        task["description"] = _description(plan, entry)
        task["dependencies"] = self._dependencies(entry, done, at)
        for key, found in (
            ("files", text.files),
            ("steps", text.steps),
            ("tests", text.tests),
            ("success_criteria", text.criteria),
        ):
            task[key] = [value for _, value in found]
            self.places |= {f"{at}/{key}/{n}": f"{entry.file}:{line}" for n, (line, _) in enumerate(found)}
        if text.reads and isinstance(task.setdefault("context", {}), dict):
            task["context"] = {"files": [path for _, path in text.reads], **task["context"]}
            lines = enumerate(text.reads)
            self.places |= {f"{at}/context/files/{n}": f"{entry.file}:{line}" for n, (line, _) in lines}
        return {key: value for key, value in task.items() if value not in ("", [], {})}

    def _dependencies(self, entry: _Entry, done: set[str], at: str) -> list[Any]:
        """Those of the task's own file and those of the index: an order too many is better than one too few."""
        found: dict[str, str] = {}
        for source, where in ((entry.front, entry.lines), (entry.index, None)):
            stated = source.get("dependencies") or []
            for number, name in enumerate(stated if isinstance(stated, list) else [stated]):
                line = where.get(f"/dependencies/{number}") if where is not None else None
                place = f"{entry.file}:{line}" if line else self._of_front(entry, "dependencies")
                found.setdefault(name if isinstance(name, str) else json.dumps(name), place)
        names = [name for name in found if name not in done]
        self.places |= {f"{at}/dependencies/{n}": found[name] for n, name in enumerate(names)}
        self.places[f"{at}/dependencies"] = self._of_front(entry, "dependencies")
        return names

    def _around(self, plan: dict[str, Any], tasks: list[dict[str, Any]], entries: list[_Entry]) -> dict[str, Any]:
        """The plan's own fields, and under `metadata.contextune` all that a request has no field for."""
        passed = {key: plan[key] for key in _PASSED_PLAN if plan.get(key) is not None}
        self.places |= {f"/task_plan/{key}": f"{self.plan_name}:{self.index_lines.get(f'/{key}', 1)}" for key in passed}
        kept = {key: value for key, value in plan.items() if key != "tasks" and key not in passed}
        kept["tasks"] = {entry.id: kept_of for entry in entries if (kept_of := _kept(entry))}
        return {**passed, "tasks": tasks, "metadata": {"contextune": kept}}

    def _stem(self, plan: dict[str, Any]) -> str:
        """What the plan's id begins with, where it states none."""
        return id_from_stem((_plan_name(plan) or self.folder.resolve().name).lower())[:50].rstrip("-_")


def _odd_values(document: Any) -> Iterator[tuple[str, str]]:
    """Pointer and what is odd about it, of all that plain YAML leaves marked."""
    waiting = [("", document)]
    while waiting:
        at, value = waiting.pop()
        if isinstance(value, BadNumber):
            yield at, f"the number {value.shown}"
        elif isinstance(value, OddKeys):
            yield from ((at, f"the key {key!r} twice") for key in value.doubled)
            yield from ((at, f"the key {key or 'null'}, which is no string") for key in value.no_strings)
        if isinstance(value, dict):
            waiting += [(f"{at}/{key}", part) for key, part in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{at}/{number}", part) for number, part in enumerate(value)]


def _plan_name(plan: dict[str, Any]) -> str:
    metadata = plan.get("metadata")
    inner = metadata if isinstance(metadata, dict) else {}
    names = (inner.get("name"), inner.get("title"), plan.get("name"), plan.get("title"))
    return next((name for name in names if isinstance(name, str) and name.strip()), "")


def _title(entry: _Entry) -> str:
    """The index's name, else the file's own."""
    own = (entry.index.get("name"), entry.index.get("title"), entry.front.get("title"), entry.front.get("name"))
    return next((one for one in own if isinstance(one, str) and one.strip()), entry.text.title or entry.id)


def _description(plan: dict[str, Any], entry: _Entry) -> str:
    own = [entry.index.get("description"), entry.front.get("description")]
    parts = [one.strip() for one in own if isinstance(one, str) and one.strip()]
    parts += [part for part in entry.text.prose if part.strip()]
    name, overview = _plan_name(plan), plan.get("overview")
    if isinstance(overview, str) and overview.strip():
        parts.append(f"## The plan this is a part of{f': {name}' if name else ''}\n\n{overview.strip()}")
    return "\n\n".join(dict.fromkeys(parts))


def _kept(entry: _Entry) -> dict[str, Any]:
    """What the index and the front matter say beyond a task's fields, and the branch and worktree named below."""
    fields = {**entry.index, **entry.front, **entry.text.footer}
    used = _OF_INDEX | set(_PASSED_TASK)
    kept = {key: value for key, value in fields.items() if key not in used and value not in (None, "", [])}
    return kept | ({"status": entry.status} if entry.status not in {"", "pending"} else {})
