"""What was to be reached, and where in the figures it is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import HAIKUD, HAIKUD_ORDINARY, TASK_SPOOLER


@dataclass(frozen=True)
class Goal:
    """At most `limit`, or, with `least`, at least. `what` and `column` name the row of the benchmark `name`."""

    words: str
    name: str
    what: str
    column: str
    limit: float
    unit: str
    short: str
    least: bool = False

    def found(self, kept: Mapping[str, Any]) -> float | None:
        """The figure; None where it was not measured."""
        for row in kept.get(self.name, {}).get("rows", ()):
            if row["what"] == self.what and row.get("column", "") == self.column:
                return float(row["value"])
        return None

    def is_reached(self, value: float) -> bool:
        """Whether that figure is good enough."""
        return value >= self.limit if self.least else value <= self.limit

    def used(self, value: float) -> float:
        """How much of the limit is used: below 1 is reached, whichever way the goal goes."""
        return self.limit / value if self.least else value / self.limit


GOALS = (
    Goal(
        f"From rename to first instruction, no worktree: p50 beside {TASK_SPOOLER}'s",
        "dispatch", HAIKUD, f"p50 to {TASK_SPOOLER}'s", 1.5, "x", "dispatch, p50",
    ),
    Goal(
        f"The same: p95 beside {TASK_SPOOLER}'s",
        "dispatch", HAIKUD, f"p95 to {TASK_SPOOLER}'s", 1.0, "x", "dispatch, p95",
    ),
    Goal(
        "From rename to first instruction, ordinary (worktree on a small repository): p50",
        "dispatch", HAIKUD_ORDINARY, "p50", 60, "ms", "dispatch with a worktree",
    ),
    Goal(
        f"1,000 plans that do nothing on two slots: time beside {TASK_SPOOLER}'s",
        "burst", HAIKUD, f"time to {TASK_SPOOLER}'s", 2.0, "x", "burst of 1,000",
    ),
    Goal(
        "From rename to the built-in agent's first API request: p50",
        "first_request", "forked runner", "p50", 60, "ms", "first API request",
    ),
    Goal(
        "The same, faster than a fresh Python that imports `anthropic` and sends one",
        "first_request", "forked runner", "faster than bare", 30, "x", "first API request, beside a bare Python",
        least=True,
    ),
    Goal(
        "200 built-in agents at once: private memory of each",
        "agents", "private memory of an agent", "", 15, "MB", "200 agents, memory of each",
    ),
    Goal("200 built-in agents at once: memory of all processes", "agents", "memory in all", "", 4000, "MB",
         "200 agents, memory in all"),
    Goal("200 built-in agents at once: delay of the daemon's event loop, p99", "agents", "loop delay p99", "", 50, "ms",
         "200 agents, delay of the loop"),
    Goal("10,000 queued: the daemon's memory", "queued", "queued", "daemon's memory", 120, "MB",
         "10,000 queued, memory"),
    Goal("10,000 queued: one more plan, from rename to answer, beside an empty spool", "queued", "queued",
         "p50 to empty", 1.2, "x", "10,000 queued, one more"),
    Goal("100,000 finished: the same", "history", "history", "p50 to empty", 1.2, "x", "100,000 finished, one more"),
    Goal("Restart with 10,000 queued", "queued", "restart", "", 3, "s", "10,000 queued, restart"),
    Goal("Restart with 10,000 queued and 100,000 finished", "history", "restart", "", 3, "s",
         "the same and 100,000 finished"),
    Goal("Idle: wake-ups beyond the timers", "idle", "wake-ups beyond the timers", "", 0, "", "idle, wake-ups"),
    Goal("Idle: processor time", "idle", "processor time of all", "", 0.1, "% of a core", "idle, processor time"),
)  # fmt: skip
