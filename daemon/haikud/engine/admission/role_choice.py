"""Which role carries out a task, and whether it can do what is asked. Pure but for the roles handed in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping

from haikud.engine.admission.fields import Notes, Stated
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.task_fields import DraftTask
from haikud.engine.admission.values import quoted
from haikud.roles.catalogue import UnknownModel, resolve_model
from haikud.roles.files import RoleFile

_INSTANCE = re.compile(r"-[0-9]+$")


def choose_role(
    task: DraftTask,
    default_role: str,
    catalogue: Mapping[str, RoleFile],
    from_repository: Callable[[], Mapping[str, RoleFile]],
    notes: Notes,
) -> RoleFile | None:
    """The task's role; None and a fault for an unknown one. `from_repository` is asked only where it matters.

    `parallel-task-executor-1`, the guide's name for one of several agents, means the role before the number.
    """
    stated = task.role or Stated(default_role, f"{task.pointer}/role")
    names = [stated.text, _INSTANCE.sub("", stated.text)]
    for name in names:
        if name in catalogue:
            return catalogue[name]
    roles = {**from_repository(), **catalogue}
    for name in names:
        if name in roles:
            return roles[name]
    near = difflib.get_close_matches(stated.text, list(roles), n=1)
    known = ", ".join(sorted(roles))
    whose = "" if task.role else " (the settings' default_role)"
    notes.add(
        FaultCode.UNKNOWN_ROLE,
        stated.pointer,
        found=f"{quoted(stated.text)}{whose}",
        expected=f"one of the roles {known}",
        fix=f"write {near[0]}" if near else f"write {default_role}, or put a role file into roles_dir",
    )
    return None


def check_operation(task: DraftTask, role: RoleFile, notes: Notes) -> None:
    """Note an operation that the role does not have.

    A task in words (`Run the full test suite`) is work for the role's model, where the role has a worktree to do it in;
    a role without one can do its operations only.
    """
    stated = task.operation
    if not role.operations:
        return
    if stated is None:
        where = f"{task.pointer}/task"
        if role.workspace == "none" and not any(fault.field == where for fault in notes.faults):
            notes.add(
                FaultCode.UNKNOWN_OPERATION,
                where,
                found=f"no operation for the role {role.name}, which only carries out operations",
                expected=f"one of {', '.join(role.operations)}",
                fix=f'write {{"agent": "{role.name}", "task": "{role.operations[0]}", "params": {{...}}}}',
            )
        return
    if stated.text in role.operations or (" " in stated.text and role.workspace == "worktree"):
        return
    word = stated.text.lower().replace(" ", "_").replace("-", "_")
    near = difflib.get_close_matches(word, role.operations, n=1, cutoff=0.5)
    notes.add(
        FaultCode.UNKNOWN_OPERATION,
        stated.pointer,
        found=f"{quoted(stated.text)} for the role {role.name}",
        expected=f"one of {', '.join(role.operations)}",
        fix=f"write {near[0]}" if near else "name one of these operations, or another role",
    )


def check_model(task: DraftTask, models: Mapping[str, str], notes: Notes) -> None:
    """Note a model that is neither a name of the settings' `models` nor a model id."""
    if task.model is None:
        return
    try:
        resolve_model(task.model.text, models)
    except UnknownModel:
        near = difflib.get_close_matches(task.model.text.lower(), list(models), n=1)
        notes.add(
            FaultCode.BAD_VALUE,
            task.model.pointer,
            found=quoted(task.model.text),
            expected=f"one of {', '.join(models)}, or a model id such as claude-haiku-5-5",
            fix=f"write {near[0]}" if near else "leave it out: the settings choose the model",
        )
