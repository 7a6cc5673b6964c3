"""The picture of a spool that `haikud status` shows, read without pydantic and within milliseconds.

With a daemon at work it is what status.json says, which the daemon replaces about once a second. Without one it is
read from the links under tasks/, which are right as of the daemon's end; titles and costs then come from the last
status.json, where it has them.
"""

from __future__ import annotations

from typing import Any

from haikud.interfaces.looking import count_final, names_in, open_escalations, open_refs_by_state, plan_of, read_json
from haikud.interfaces.picture_costs import listed_plans, with_age
from haikud.interfaces.picture_faults import all_faults, look_at_filesystem
from haikud.interfaces.picture_task import OPEN
from haikud.interfaces.plain import seconds_since
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout

STATES = (*OPEN, "succeeded", "failed", "cancelled")

MOST_LISTED = 1000
"""So many open tasks are listed from the links; the others are counted."""


def read_picture(layout: SpoolLayout) -> dict[str, Any]:
    """Everything to show, as JSON values. `daemon_pid` is None where no daemon runs."""
    pid = daemon_pid(layout)
    live = read_json(layout.status_file) or {}
    told = live.get("daemon") if isinstance(live.get("daemon"), dict) else {}
    is_live = pid is not None and isinstance(told, dict) and told.get("pid") == pid
    picture = as_of_now(live) if is_live else _from_links(layout, live)
    queue = read_json(layout.queue_file) or {}
    if not is_live and queue.get("paused"):
        picture |= {"paused": queue.get("reason") or "paused", "paused_until": queue.get("until")}
    filesystem = look_at_filesystem(layout)
    asked = [one.get("payload") for one in open_escalations(layout).values()]
    dropped = [name for name in names_in(layout.incoming) if not name.startswith(".")]
    return {
        "spool": str(layout.root),
        "daemon_pid": pid,
        "from": "status.json" if is_live else "tasks/",
        **picture,
        "faults": all_faults(layout, live.get("faults") if is_live else None, filesystem),
        "filesystem": filesystem,
        "updated_seconds_ago": seconds_since(live.get("updated_at")),
        "incoming": len(dropped),
        "questions": [payload for payload in asked if isinstance(payload, dict)],
    }


def live_picture(layout: SpoolLayout) -> dict[str, Any] | None:
    """What the daemon at work says in status.json, as of now; None where none is, or it has not said anything yet."""
    live = read_json(layout.status_file) or {}
    told = live.get("daemon")
    return as_of_now(live) if isinstance(told, dict) and told.get("pid") == daemon_pid(layout) else None


def as_of_now(live: dict[str, Any]) -> dict[str, Any]:
    """status.json with its clocks moved on: it is written when something happens, not when a second has passed."""
    age, counts, whole = seconds_since(live.get("updated_at")), live.get("counts"), live.get("all_plans")
    is_running = isinstance(counts, dict) and bool(counts.get("running"))
    moved: dict[str, Any] = {}
    if "plans" in live:
        moved["plans"] = [with_age(plan, age, is_running=_runs(plan)) for plan in listed_plans(live)]
    if isinstance(whole, dict):
        moved["all_plans"] = with_age(whole, age, is_running=is_running)
    return {**live, **moved}


def _runs(plan: dict[str, Any]) -> bool:
    counts = plan.get("counts")
    return isinstance(counts, dict) and bool(counts.get("running"))


def _from_links(layout: SpoolLayout, live: dict[str, Any]) -> dict[str, Any]:
    """The picture from the tasks' links."""
    by_state, final = open_refs_by_state(layout), count_final(layout)
    listed = live.get("tasks")
    known = {t.get("ref"): t for t in listed if isinstance(t, dict)} if isinstance(listed, list) else {}
    refs = [(state, ref) for state in OPEN for ref in by_state[state]]
    tasks = [
        {**known.get(ref, {}), "ref": ref, "plan": plan_of(ref), "state": state} for state, ref in refs[:MOST_LISTED]
    ]
    return {
        "updated_at": live.get("updated_at"),
        "counts": {state: final[state] if state in final else len(by_state[state]) for state in STATES},
        "tasks": tasks,
        "tasks_left_out": len(refs) - len(tasks),
        "cost_usd": sum(_number(known[ref].get("cost_usd")) for _, ref in refs if ref in known),
    }


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def listed_tasks(picture: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks in the order in which people want to see them."""
    tasks = picture.get("tasks")
    rank = {state: number for number, state in enumerate(STATES)}
    found = [task for task in (tasks if isinstance(tasks, list) else []) if isinstance(task, dict)]
    return sorted(found, key=lambda task: rank.get(str(task.get("state")), len(rank)))


def seconds_elapsed(picture: dict[str, Any]) -> float | None:
    """Since the first of the listed open tasks started."""
    open_tasks = (task for task in listed_tasks(picture) if task.get("state") in OPEN)
    times = [seconds for task in open_tasks if (seconds := seconds_since(task.get("started_at"))) is not None]
    return max(times, default=None)
