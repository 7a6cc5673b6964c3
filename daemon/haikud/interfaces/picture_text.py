"""The picture of a spool as lines of text: the guide's progress block, in plain words where no one looks at colours.

Colours and icons are written by hand: `rich` takes longer to import than everything else that `haikud status` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from haikud.interfaces.blocked import blocked_lines
from haikud.interfaces.picture import STATES, listed_tasks, seconds_elapsed
from haikud.interfaces.picture_costs import cost_lines, plan_lines
from haikud.interfaces.picture_faults import fault_lines
from haikud.interfaces.picture_task import task_line
from haikud.interfaces.plain import one_line, seconds_since

_MOST_LINES = 40
_MOST_QUESTIONS = 3


def picture_lines(picture: dict[str, Any], *, colour: bool, width: int = 0) -> Iterator[str]:
    """The block, line by line. `colour`: for a terminal, with icons; a task keeps to one line of `width`, if not 0."""
    yield from head_lines(picture)
    tasks = listed_tasks(picture)
    shown = tasks[:_MOST_LINES]
    if colour and _int(_counts(picture).get("running")):
        yield "\U0001f680 Parallel Execution in Progress"
    if shown:
        yield "Tasks:"
    ref_width = min(max((len(one_line(task.get("ref"))) for task in shown), default=0), 60)
    for task in shown:
        yield task_line(task, ref_width, width, colour=colour)
    left = len(tasks) - len(shown) + _int(picture.get("tasks_left_out"))
    if left:
        yield f"  and {left} more: haikud status --json"
    yield from _question_lines(picture, colour=colour)
    yield from plan_lines(picture, width)
    yield from foot_lines(picture)


def _question_lines(picture: dict[str, Any], *, colour: bool) -> Iterator[str]:
    """The open questions as the guide's reports; a few of them."""
    questions = picture.get("questions")
    found = [one for one in (questions if isinstance(questions, list) else []) if isinstance(one, dict)]
    for payload in found[:_MOST_QUESTIONS]:
        yield ""
        yield from blocked_lines(payload, icon=colour)
    if len(found) > _MOST_QUESTIONS:
        yield f"and {len(found) - _MOST_QUESTIONS} more questions: haikud answer"
    if found:
        yield ""


def head_lines(picture: dict[str, Any]) -> Iterator[str]:
    """Whether a daemon runs, and what keeps it from starting tasks."""
    daemon = picture.get("daemon")
    if picture.get("daemon_pid") is None:
        yield f"No daemon runs on {picture['spool']}; start it: haikud run --spool {picture['spool']}"
    elif not isinstance(daemon, dict):
        yield f"The daemon on {picture['spool']} (pid {picture['daemon_pid']}) has not shown its picture yet"
    else:
        running = _int(_counts(picture).get("running"))
        sandbox = f", sandbox {one_line(daemon['sandbox'])}" if daemon.get("sandbox") else ""
        yield (
            f"haikud {one_line(daemon.get('version'))} on {picture['spool']}: {one_line(daemon.get('state'))}, "
            f"pid {picture['daemon_pid']}, {running} of {one_line(daemon.get('max_agents'))} agents at work"
            f"{sandbox}"
        )
    if picture.get("paused"):
        until = picture.get("paused_until")
        ends = f" until {one_line(until)}" if until else "; go on: haikud resume all"
        yield f"The queue is paused ({one_line(picture['paused'])}){ends}"
    if picture.get("held"):
        yield f"Nothing new is started: {one_line(picture['held'], 300)}"
    yield from fault_lines(picture, seconds_since)


def foot_lines(picture: dict[str, Any]) -> Iterator[str]:
    """Counts, running cost and elapsed time."""
    counts = _counts(picture)
    told = [f"{_int(counts.get(state))} {state}" for state in STATES if _int(counts.get(state))]
    yield "Counts: " + (", ".join(told) or "no tasks")
    if picture.get("incoming"):
        yield f"In incoming/, not admitted yet: {picture['incoming']}"
    whole = picture.get("all_plans")
    if isinstance(whole, dict):
        costs = whole
    else:  # no plan is open, or nobody can say more than what tasks have cost
        costs = {"cost_usd": picture.get("cost_usd"), "elapsed_seconds": seconds_elapsed(picture)}
    yield from cost_lines(costs, today=picture.get("day_cost_usd"), questions=_int(counts.get("escalated")))


def _counts(picture: dict[str, Any]) -> dict[str, Any]:
    counts = picture.get("counts")
    return counts if isinstance(counts, dict) else {}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
