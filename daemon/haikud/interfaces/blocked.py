"""The guide's blocked report, "Task Blocked: Requires Human Decision", from the payload of an escalation, for people.

What stands in it was written by agents: every line is made safe for a terminal. Nothing but plain values is read, and
what is missing or odd is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from haikud.interfaces.money import dollars
from haikud.interfaces.plain import one_line, safe, seconds_since, span

HEAD = "Task Blocked: Requires Human Decision"
CROSS = "\u274c "

_MOST_LINES = 20
"""Of error details; their end says most."""


def blocked_lines(payload: dict[str, Any], *, icon: bool = False) -> Iterator[str]:
    """The report, line by line, in the guide's order; then since when it is open."""
    yield f"{CROSS if icon else ''}{HEAD}"
    yield f"Task: {one_line(payload.get('title'))} ({one_line(payload.get('ref'))})"
    issue = payload.get("issue_url") or (f"#{payload['issue_number']}" if payload.get("issue_number") else None)
    if issue:
        yield f"Issue: {one_line(issue)}"
    reason, blocker = payload.get("reason"), payload.get("blocker")
    yield f"Blocker: {one_line(blocker or reason)}"
    if reason and blocker and one_line(reason) != one_line(blocker):
        yield f"Reason: {one_line(reason)}"
    details = safe(payload.get("error_details") or "").strip().splitlines()
    if details:
        yield "Error Details:"
        if len(details) > _MOST_LINES:
            yield f"  ... {len(details) - _MOST_LINES} lines before"
        yield from (f"  {line}".rstrip() for line in details[-_MOST_LINES:])
    context, options = _list(payload.get("context")), _list(payload.get("options"))
    if context:
        yield "Context:"
        yield from (f"  - {one_line(entry)}" for entry in context)
    if options:
        yield "Options:"
        yield from (f"  {number}. {one_line(option)}" for number, option in enumerate(options, 1))
    if payload.get("recommendation"):
        yield f"Recommendation: {one_line(payload['recommendation'])}"
    yield f"Cost so far: {dollars(payload.get('cost_so_far'))}"
    age = seconds_since(payload.get("open_since"))
    if age is not None:
        raised = payload.get("raised")
        again = f", raised {raised} time{'' if raised == 1 else 's'}" if isinstance(raised, int) and raised else ""
        yield f"Open for: {span(age)}{again}"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
