"""Whether an attempt needs an intervention. Pure: the guide's triggers and the settings' numbers, no clock, no disk.

Only while the agent is at work: every other phase consists of steps that have time limits of their own. Undeclared
files are not judged here: the runner measures them, and ends the attempt by itself (agent/interventions.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from haikud.contracts.intervention import Action, Intervention, Trigger
from haikud.contracts.settings import MonitorSettings
from haikud.contracts.states import Phase
from haikud.engine.monitors.watch import Operation, Watch

MOST_PERIOD = 3
"""A loop may be made of so many operations, one after the other and again from the first."""

LEAST_TEST_RUNS = 3
"""Tests that fail before the work has begun, and once more on the way, are no reason to worry."""


def judge(watch: Watch, settings: MonitorSettings, now: float) -> list[Intervention]:
    """What is wrong, the clearest first; nothing where the attempt gets on. `action` is left for the caller to set."""
    if watch.phase is not Phase.IMPLEMENT:
        return []
    found = (
        _same_operation(watch, settings.repeats),
        _repeated_error(watch, settings.repeats),
        _tests_failing(watch, settings.tests_failing_seconds),
        _silence(watch, settings.silence_seconds, now),
    )
    return [one for one in found if one is not None]


def choose_action(settings: MonitorSettings, restarts: int) -> Action:
    """What is to be done about it: a task that was restarted as often as it may be is escalated."""
    return "escalate" if settings.action == "restart" and restarts >= settings.restarts else settings.action


def find_loop(operations: Sequence[Operation], repeats: int) -> Sequence[Operation]:
    """The operations that were done `repeats` times in a row up to now, in order; nothing where there are none."""
    for period in range(1, MOST_PERIOD + 1):
        needed = period * repeats
        latest = operations[-needed:]
        if len(latest) == needed and all(
            one.digest == latest[place % period].digest for place, one in enumerate(latest)
        ):
            return latest[:period]
    return ()


def _same_operation(watch: Watch, repeats: int) -> Intervention | None:
    loop = find_loop(watch.operations, repeats) if repeats else ()
    if not loop:
        return None
    what = "the same operation" if len(loop) == 1 else f"the same {len(loop)} operations"
    return Intervention(
        trigger=Trigger.SAME_OPERATION,
        message=f"{what} {repeats} times in a row: {'; '.join(one.text for one in loop)}",
        evidence=[f"Done {repeats} times in a row, with exactly the same input: {one.text}" for one in loop],
    )


def _repeated_error(watch: Watch, repeats: int) -> Intervention | None:
    streak = watch.error
    if not repeats or streak is None or streak.count < repeats:
        return None
    return Intervention(
        trigger=Trigger.REPEATED_ERROR,
        message=f"the same error {streak.count} times: {streak.text}",
        evidence=[f"Met {streak.count} times, and no other error in between: {streak.text}"],
    )


def _tests_failing(watch: Watch, limit: float) -> Intervention | None:
    failing = watch.tests
    if not limit or failing is None or failing.runs < LEAST_TEST_RUNS or failing.last - failing.since < limit:
        return None
    seconds = failing.last - failing.since
    return Intervention(
        trigger=Trigger.TESTS_FAILING,
        message=f"the tests have been failing for {seconds:.0f} s, {failing.runs} runs",
        evidence=[
            f"The agent ran the tests {failing.runs} times in {seconds:.0f} s, and they never passed",
            *([f"The last run said: {failing.text}"] if failing.text else []),
        ],
    )


def _silence(watch: Watch, limit: float, now: float) -> Intervention | None:
    if not limit or now < watch.quiet_until or now - watch.life_at < limit:
        return None
    last = f"Its last sign of life: {watch.life}" if watch.life else "It has given no sign of life at all"
    return Intervention(
        trigger=Trigger.SILENCE,
        message=f"no sign of the agent for {now - watch.life_at:.0f} s",
        evidence=[last, "Nothing is running that has a time limit of its own, such as a command or the tests"],
    )
