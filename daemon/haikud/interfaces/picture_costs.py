"""The guide's cost block as lines: running cost, estimated total, savings, time elapsed and remaining.

What is computed and what is an estimate is told apart: an estimate says which finished tasks it is from, and where
there are none the block says that instead of a figure. Read without pydantic, as the rest of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from haikud.interfaces.money import dollars
from haikud.interfaces.plain import cut, one_line, span

_MOST_ROLES = 3  # named in one line
_MOST_PLANS = 10


def with_age(costs: dict[str, Any], age: float | None, *, is_running: bool) -> dict[str, Any]:
    """As they are now: status.json is not written again because a clock ticks. `age`: seconds since it was written."""
    if not age or age < 0:
        return costs
    now: dict[str, Any] = {}
    if isinstance(costs.get("elapsed_seconds"), int | float):
        now["elapsed_seconds"] = costs["elapsed_seconds"] + age
    if is_running and isinstance(costs.get("estimated_seconds_left"), int | float):
        now["estimated_seconds_left"] = max(0.0, costs["estimated_seconds_left"] - age)
    return {**costs, **now}


def cost_lines(costs: dict[str, Any], *, today: object = None, questions: int = 0) -> Iterator[str]:
    """The block. `today`: what the day has cost; `questions`: how many tasks wait for an answer."""
    spent = f"Running Cost: {dollars(costs.get('cost_usd'))}"
    yield spent if today is None else f"{spent} (today: {dollars(today)})"
    total, left = _number(costs.get("estimated_total_usd")), _number(costs.get("estimated_seconds_left"))
    if total is not None:
        yield f"Estimated Total: {dollars(total)}{_basis(costs.get('estimate_from'))}"
    yield from _savings_line(costs, is_estimated=total is not None)
    elapsed = _number(costs.get("elapsed_seconds"))
    if elapsed is not None:
        yield f"Time Elapsed: {span(elapsed)}"
    if left is not None:
        answered = f", if {questions} question{'s are' if questions > 1 else ' is'} answered now" if questions else ""
        late = "0 s (it takes longer than its like did)"
        yield f"Estimated Time Remaining: {span(left) if left else late}{answered}"
    yield from _missing_lines(costs, what="estimate" if total is None else "estimate of the time")


def plan_lines(picture: dict[str, Any], width: int) -> Iterator[str]:
    """Where several plans are open, a line on each: how far it is, what it has cost, what it will."""
    plans = listed_plans(picture)
    if len(plans) < 2:
        return
    yield "Plans:"
    id_width = min(max(len(one_line(plan.get("id"))) for plan in plans[:_MOST_PLANS]), 40)
    for plan in plans[:_MOST_PLANS]:
        title = one_line(plan.get("title") or "", 40)
        said = " - ".join(part for part in (title, _plan_news(plan)) if part)
        yield cut(f"  {one_line(plan.get('id')):<{id_width}}  {said}", width)
    left_out = picture.get("plans_left_out")
    more = len(plans[_MOST_PLANS:]) + (left_out if isinstance(left_out, int) else 0)
    if more:
        yield f"  and {more} more plans: haikud status --json"


def listed_plans(picture: dict[str, Any]) -> list[dict[str, Any]]:
    """The open plans that status.json lists."""
    plans = picture.get("plans")
    return [plan for plan in (plans if isinstance(plans, list) else []) if isinstance(plan, dict)]


def _plan_news(plan: dict[str, Any]) -> str:
    counts = plan.get("counts")
    known = {str(k): n for k, n in counts.items() if isinstance(n, int)} if isinstance(counts, dict) else {}
    parts = [f"{known.get('succeeded', 0)} of {sum(known.values())} complete", dollars(plan.get("cost_usd"))]
    parts[1] += " so far"
    total, left = _number(plan.get("estimated_total_usd")), _number(plan.get("estimated_seconds_left"))
    parts += [f"about {dollars(total)} in all"] if total is not None else []
    parts += [f"about {span(left)} left"] if left else []
    return ", ".join(parts)


def _basis(told: object) -> str:
    """What an estimate is from: `, from 12 finished tasks of parallel-task-executor`."""
    roles = [(one_line(role), n) for role, n in told.items() if isinstance(n, int)] if isinstance(told, dict) else []
    if not roles:
        return ""
    named = [f"{n} finished task{'s' if n > 1 else ''} of {role}" for role, n in roles[:_MOST_ROLES]]
    more = [f"{len(roles) - _MOST_ROLES} more roles"] if len(roles) > _MOST_ROLES else []
    return f", from {', '.join([*named, *more])}"


def _savings_line(costs: dict[str, Any], *, is_estimated: bool) -> Iterator[str]:
    """Against the same requests at Sonnet's prices: of the whole where that can be estimated, else so far."""
    start = "estimated_" if is_estimated else ""
    sonnet = _number(costs.get("estimated_sonnet_usd" if is_estimated else "sonnet_cost_usd"))
    saved = _number(costs.get(f"{start}savings_usd"))
    if not sonnet or saved is None:
        return  # nothing was asked of a model: there is nothing to compare
    what = "Estimated Savings" if is_estimated else "Savings so far"
    percent = _number(costs.get(f"{start}savings_percent")) or 0.0
    yield f"{what}: {dollars(saved)} ({percent:g}%) vs all-Sonnet approach"


def _missing_lines(costs: dict[str, Any], *, what: str) -> Iterator[str]:
    roles = costs.get("no_estimate_for")
    named = [one_line(role) for role in roles] if isinstance(roles, list) else []
    if named:
        more = f" and {len(named) - _MOST_ROLES} more" if len(named) > _MOST_ROLES else ""
        yield f"No {what} yet: no finished task of role {', '.join(named[:_MOST_ROLES])}{more}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
