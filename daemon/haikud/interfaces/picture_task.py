"""One task as a line of text: the guide's `✅ Auth page (Haiku) - Complete - $0.04`, and in a pipe plain words.

Colours and marks are written by hand: `rich` takes longer to import than everything else that `haikud status` does.
"""

from __future__ import annotations

from typing import Any

from haikud.interfaces.money import dollars
from haikud.interfaces.plain import cells, cut, one_line, seconds_since, span

OPEN = ("running", "escalated", "queued", "deferred", "paused", "waiting")
"""The states that are not final, in the order in which people want to see them."""

MARKS = {
    "running": "\u23f3",
    "succeeded": "\u2705",
    "failed": "\u274c",
    "escalated": "\u2753",
    "cancelled": "\U0001f6ab",
}
"""What the guide puts before a task; the other states have none there."""

NO_MARK = "  "  # as wide as a mark

WORDS = {
    "running": "Running",
    "succeeded": "Complete",
    "failed": "Failed",
    "escalated": "Blocked",
    "cancelled": "Cancelled",
    "queued": "Queued",
    "waiting": "Waiting",
    "deferred": "Deferred",
    "paused": "Paused",
}
"""The guide's words for the first four; on a terminal, where the mark stands for the state."""

_COLOURS = {"running": 36, "succeeded": 32, "failed": 31, "escalated": 33, "cancelled": 90, "paused": 33}
_LEAST_ROOM = 12  # columns for a task's words, however narrow the terminal
_MOST_TITLE = 50
_ASKED = ("asked to pause", "ending: ")
"""How the reason of a running task begins where someone has asked something of it: that goes before its message."""


def task_line(task: dict[str, Any], ref_width: int, width: int, *, colour: bool) -> str:
    """The line; it keeps to `width` columns where that is not 0. `colour`: for a terminal that can show marks."""
    state = one_line(task.get("state", "?"))
    family = one_line(task.get("model_family") or "")
    news = task_news(task)
    if colour:
        start, news = MARKS.get(state, NO_MARK), " - ".join(part for part in (WORDS.get(state, state), news) if part)
    else:
        start = f"  {state:<9}"
    start += f" {one_line(task.get('ref')):<{ref_width}}  "
    room = max(width - cells(start), _LEAST_ROOM) if width else 0
    # What is new goes before the whole title.
    left = room - cells(f" ({family}) - {news}")
    title = one_line(cut(one_line(task.get("title") or ""), min(max(left, _LEAST_ROOM), _MOST_TITLE) if room else 50))
    name = f"{title} ({family})" if family and title else title
    said = cut(" - ".join(part for part in (name, news) if part), room)
    if colour and state in _COLOURS:
        word = WORDS.get(state, state)
        said = said.replace(f" - {word}", f" - \x1b[{_COLOURS[state]}m{word}\x1b[0m", 1)
    return f"{start}{said}".rstrip()


def task_news(task: dict[str, Any]) -> str:
    """What there is to say of a task beside its state: cost, phase and percent, time, why it waits."""
    state = task.get("state")
    parts = []
    if "cost_usd" in task and (state in {"running", "succeeded", "failed"} or task["cost_usd"]):
        parts.append(dollars(task["cost_usd"]) + (" so far" if state in OPEN else ""))
    if state == "running" and task.get("phase"):
        percent = task.get("percent")
        parts.append(one_line(task["phase"]) + (f" {percent}%" if isinstance(percent, int) else ""))
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
    if words and words != "None" and not (state == "succeeded" and words == "completed"):
        parts.append(words)
    return ", ".join(parts)


def seen_by_monitors(task: dict[str, Any]) -> str:
    """What monitors have seen in a running attempt, the latest; nothing where it gets on."""
    seen = task.get("interventions")
    last = seen[-1] if isinstance(seen, list) and seen else None
    return one_line(last.get("message"), 80) if isinstance(last, dict) else ""
