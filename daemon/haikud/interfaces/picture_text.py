"""The picture of a spool as lines of text: the guide's progress block, in plain words where no one looks at colours.

Colours and icons are written by hand: `rich` takes longer to import than everything else that `haikud status` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from haikud.interfaces.blocked import blocked_lines
from haikud.interfaces.money import dollars
from haikud.interfaces.picture import OPEN, STATES, listed_tasks, seconds_elapsed, seconds_since
from haikud.interfaces.picture_faults import fault_lines
from haikud.interfaces.plain import one_line, span

ICONS = {
    "running": "\u23f3",
    "succeeded": "\u2705",
    "failed": "\u274c",
    "escalated": "\u2753",
    "cancelled": "\U0001f6ab",
}
"""What the guide puts before a task; the other states have none there."""

_COLOURS = {"running": 36, "succeeded": 32, "failed": 31, "escalated": 33, "cancelled": 90, "paused": 33}
_MOST_LINES = 40
_MOST_QUESTIONS = 3
_LEAST_ROOM = 12  # columns for a task's words, however narrow the terminal


def picture_lines(picture: dict[str, Any], *, colour: bool, width: int = 0) -> Iterator[str]:
    """The block, line by line. `colour`: for a terminal, with icons; a task keeps to one line of `width`, if not 0."""
    yield from head_lines(picture)
    tasks = listed_tasks(picture)
    shown = tasks[:_MOST_LINES]
    if shown:
        yield "Tasks:"
    ref_width = min(max((len(one_line(task.get("ref"))) for task in shown), default=0), 60)
    for task in shown:
        yield _task_line(task, ref_width, width, colour=colour)
    left = len(tasks) - len(shown) + _int(picture.get("tasks_left_out"))
    if left:
        yield f"  and {left} more: haikud status --json"
    yield from _question_lines(picture, colour=colour)
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
        yield (
            f"haikud {one_line(daemon.get('version'))} on {picture['spool']}: {one_line(daemon.get('state'))}, "
            f"pid {picture['daemon_pid']}, {running} of {one_line(daemon.get('max_agents'))} agents at work"
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
    cost = f"Running Cost: {dollars(picture.get('cost_usd'))}"
    if "day_cost_usd" in picture:
        cost += f" (today: {dollars(picture['day_cost_usd'])})"
    yield cost
    elapsed = seconds_elapsed(picture)
    if elapsed is not None:
        yield f"Time Elapsed: {span(elapsed)}"


_ASKED = ("asked to pause", "ending: ")
"""How the reason of a running task begins where someone has asked something of it: that goes before its message."""


def task_news(task: dict[str, Any]) -> str:
    """What there is to say of a task beside its state: phase and percent, cost, time, why it waits."""
    state = task.get("state")
    parts = []
    if state == "running" and task.get("phase"):
        percent = task.get("percent")
        parts.append(one_line(task["phase"]) + (f" {percent}%" if isinstance(percent, int) else ""))
    if "cost_usd" in task and (state in {"running", "succeeded", "failed"} or task["cost_usd"]):
        parts.append(dollars(task["cost_usd"]) + (" so far" if state in OPEN else ""))
    since = seconds_since(task.get("started_at") if state == "running" else None)
    if since is not None:
        parts.append(span(since))
    if state == "escalated":
        parts.append(f'answer it: haikud answer {one_line(task.get("ref"))} "TEXT"')
        asked = seconds_since(task.get("since"))
        parts += [f"asked {span(asked)} ago"] if asked is not None else []
    if state == "deferred" and task.get("retry_at"):
        parts.append(f"until {one_line(task['retry_at'])}")
    if state == "running" and (seen := seen_by_monitors(task)):
        parts.append(f"monitor: {seen}")
    reason = str(task.get("reason") or "")
    is_asked = reason.startswith(_ASKED)
    words = one_line(task.get("message") if state == "running" and not is_asked else reason, 80 if is_asked else 60)
    if words and words != "None":
        parts.append(words)
    return ", ".join(parts)


def seen_by_monitors(task: dict[str, Any]) -> str:
    """What monitors have seen in a running attempt, the latest; nothing where it gets on."""
    seen = task.get("interventions")
    last = seen[-1] if isinstance(seen, list) and seen else None
    return one_line(last.get("message"), 80) if isinstance(last, dict) else ""


def _task_line(task: dict[str, Any], ref_width: int, width: int, *, colour: bool) -> str:
    state = one_line(task.get("state", "?"))
    label = f"{state:<9}"
    ref = f"{one_line(task.get('ref')):<{ref_width}}"
    room = max(width - len(f"  {label} {ref}  ") - (3 if colour else 0), _LEAST_ROOM) if width else 0
    if colour:
        label = f"{ICONS.get(state, ' ' * 2)} \x1b[{_COLOURS.get(state, 0)}m{label}\x1b[0m"
    news = task_news(task)
    title_room = min(max(room - len(f" - {news}"), _LEAST_ROOM), 50) if room else 50  # news before the whole title
    said = " - ".join(part for part in (one_line(task.get("title") or "", title_room), news) if part)
    return f"  {label} {ref}  {one_line(said, room)}".rstrip()


def _counts(picture: dict[str, Any]) -> dict[str, Any]:
    counts = picture.get("counts")
    return counts if isinstance(counts, dict) else {}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
