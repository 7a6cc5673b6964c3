"""Dependencies between the tasks of a plan: each known, none on itself, no cycle."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from haikud.engine.admission.fields import Notes, Stated
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.values import quoted


def check_dependencies(stated: Mapping[str, Sequence[Stated]], notes: Notes) -> None:
    """Note unknown, self and cyclic dependencies. `stated`: task id -> its dependencies, in the plan's order."""
    known: dict[str, list[str]] = {}
    expected = f"ids of other tasks of this plan ({_some(list(stated))})"
    for task_id, dependencies in stated.items():
        known[task_id] = []
        for dependency in dependencies:
            if dependency.text == task_id:
                notes.add(
                    FaultCode.SELF_DEPENDENCY,
                    dependency.pointer,
                    found=f"{task_id} depends on itself ({task_id} -> {task_id})",
                    expected="ids of other tasks of this plan",
                    fix="remove it",
                )
            elif dependency.text not in stated:
                notes.add(
                    FaultCode.UNKNOWN_DEPENDENCY,
                    dependency.pointer,
                    found=f"{quoted(dependency.text)}, which is no task of this plan",
                    expected=expected,
                    fix=_nearest(dependency.text, [] if notes.is_full else [t for t in stated if t != task_id]),
                )
            else:
                known[task_id].append(dependency.text)
    cycle = find_cycle(known)
    if cycle:
        spelled = " -> ".join(cycle)
        first = next(s for s in stated[cycle[0]] if s.text == cycle[1])
        notes.add(
            FaultCode.CYCLE,
            first.pointer,
            found=f"a cycle of dependencies: {spelled}",
            expected="tasks that can be done one after the other",
            fix=f"remove one of them, such as {cycle[1]} from the dependencies of {cycle[0]}",
        )


def find_cycle(dependencies: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The first cycle, its first id repeated at the end; None where there is none. No recursion."""
    finished: set[str] = set()
    for start in dependencies:
        trail: list[str] = []
        on_trail: set[str] = set()
        stack: list[tuple[str, int]] = [(start, 0)] if start not in finished else []
        while stack:
            task_id, next_one = stack.pop()
            if next_one == 0:
                trail.append(task_id)
                on_trail.add(task_id)
            if next_one == len(dependencies[task_id]):
                finished.add(task_id)
                on_trail.discard(trail.pop())
                continue
            stack.append((task_id, next_one + 1))
            target = dependencies[task_id][next_one]
            if target in on_trail:
                return [*trail[trail.index(target) :], target]
            if target not in finished:
                stack.append((target, 0))
    return None


def _some(ids: Sequence[str]) -> str:
    return f"{', '.join(ids[:8])}, ..." if len(ids) > 8 else ", ".join(ids)


def _nearest(text: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, others, n=1, cutoff=0.4)
    if near:
        return f"write {quoted(near[0])}, or add a task with the id {quoted(text)}"
    return "add that task to this plan (`task_plan` holds several), or remove the dependency"
