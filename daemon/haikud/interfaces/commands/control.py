"""`haikud cancel`, `retry`, `pause` and `resume`: an empty file in control/ is the whole command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from haikud.interfaces.dropping import drop
from haikud.interfaces.looking import (
    FINAL,
    all_final,
    check_id,
    check_not_pruned,
    pending_in,
    plan_of,
    read_json,
    refs_of,
    request_is_pending,
    state_of,
    why_set_aside,
)
from haikud.interfaces.places import find_spool, spool_option, warn_without_daemon
from haikud.interfaces.trouble import Trouble, warn
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.1
_REFUSED_WITHIN_SECONDS = 0.5  # a daemon at leisure has taken a command by then

_SUITED = {
    "cancel": frozenset({"waiting", "queued", "running", "deferred", "paused", "escalated"}),
    "retry": frozenset({"failed", "cancelled", "deferred"}),
    "pause": frozenset({"waiting", "queued", "running", "deferred", "escalated"}),
    "resume": frozenset({"paused", "running"}),  # a pause that a running agent has not come to yet is taken back
}
"""The states in which a verb has an effect."""

_SUITS = {
    "cancel": "not finished",
    "retry": "failed, cancelled or deferred",
    "pause": "neither finished nor paused",
    "resume": "paused, or about to be",
}
"""The same in words."""


def _control(verb: str, about: str, *, whole_queue: bool) -> click.Command:
    """One of the four commands; they differ in their verb and in whether `all` is an id."""

    def command(identifier: str, wait: bool, timeout: float | None, spool: Path | None) -> None:
        layout = find_spool(spool)
        if identifier == "all" and not whole_queue:
            raise Trouble(f"`haikud {verb} all` does not exist", advice=f"name a plan or a task: haikud {verb} ID")
        fits = True
        if identifier != "all":
            check_id(identifier)
            fits = _check_that_it_fits(layout, identifier, verb)
        name, at = f"{identifier}.{verb}", time.time()
        drop(layout.control, name, b"")
        target = "the queue" if identifier == "all" else identifier
        click.echo(f"asked: {verb} {target}")
        warn_without_daemon(layout, f"control/{name} lies there")
        if wait:
            _wait_until_done(layout, identifier, verb, name, at, timeout)
            click.echo(f"done: {verb} {target}")
        elif fits and (reason := _soon_refused(layout, name, at)):
            warn(f"the daemon did not do it: {reason}")

    command.__doc__ = about
    options: Iterable[Callable[[click.decorators.FC], click.decorators.FC]] = (
        click.argument("identifier", metavar="ID"),
        click.option("--wait", is_flag=True, help="Return when it is done, not when it is asked."),
        click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="With --wait: give up (exit 4)."),
        spool_option,
    )
    for option in reversed(list(options)):
        command = option(command)
    return click.command(verb)(command)


def _soon_refused(layout: SpoolLayout, name: str, at: float) -> str | None:
    """Why the daemon set the command aside, where it does so at once; a refusal in its log alone is easily missed."""
    end = time.monotonic() + _REFUSED_WITHIN_SECONDS
    while time.monotonic() < end and daemon_pid(layout) is not None:
        if (reason := why_set_aside(layout, name, since=at)) is not None:
            return str(reason.get("reason"))
        if not any(pending == name for pending in pending_in(layout.control)):
            break
        time.sleep(LOOK_SECONDS)
    reason = why_set_aside(layout, name, since=at)
    return None if reason is None else str(reason.get("reason"))


def _check_that_it_fits(layout: SpoolLayout, identifier: str, verb: str) -> bool:
    """`Trouble` where the spool has no such ID; a warning, and False, where the verb looks without effect."""
    refs = refs_of(layout, identifier)
    if not refs:
        if request_is_pending(layout, plan_of(identifier)):
            raise Trouble(
                f"{identifier} lies in incoming/ and is not admitted yet",
                advice="wait until the daemon has admitted it, or remove the file",
            )
        check_not_pruned(layout, identifier)
        raise Trouble(f"{layout.root} has no task or plan {identifier}", advice="`haikud status` lists what there is")
    states = {state_of(layout, ref) or "moving" for ref in refs}
    if states.isdisjoint(_SUITED[verb] | {"moving"}):
        warn(f"{identifier} is {', '.join(sorted(states))} now; {verb} has an effect only on what is {_SUITS[verb]}")
        return False
    return True


def _wait_until_done(
    layout: SpoolLayout, identifier: str, verb: str, name: str, at: float, timeout: float | None
) -> None:
    end = None if timeout is None else time.monotonic() + timeout
    while not _is_done(layout, identifier, verb, name):
        reason = why_set_aside(layout, name, since=at)
        if reason is not None:
            raise Trouble(
                f"the daemon did not do it: {reason.get('reason')}", advice="see rejected/ for the file", exit_code=5
            )
        if end is not None and time.monotonic() >= end:
            raise Trouble(f"not done after {timeout:g} s", advice="`haikud status` shows how it is", exit_code=4)
        time.sleep(LOOK_SECONDS)
    reason = why_set_aside(layout, name, since=at)
    if reason is not None:
        raise Trouble(f"the daemon did not do it: {reason.get('reason')}", exit_code=5)


def _is_done(layout: SpoolLayout, identifier: str, verb: str, name: str) -> bool:
    if any(name in pending_in(layout.control) for _ in range(2)):  # a listing may miss what is renamed meanwhile
        return False
    if identifier == "all":
        return bool((read_json(layout.queue_file) or {}).get("paused")) == (verb == "pause")
    if verb == "cancel":
        return all_final(layout, identifier)
    if verb == "pause":
        return all(state_of(layout, ref) in FINAL | {"paused"} for ref in refs_of(layout, identifier))
    return True


cancel = _control(
    "cancel",
    """End ID, a plan or a task, for good, with every process of it.

    Work that was not committed stays in the worktree.
    """,
    whole_queue=False,
)
retry = _control(
    "retry",
    """Run ID, a failed or cancelled task or the failed tasks of a plan, again.

    It goes on in the same worktree; the old answer stays in the task's folder.
    """,
    whole_queue=False,
)
pause = _control(
    "pause",
    """Hold ID, a plan or a task; `all` holds the whole queue, over restarts too.

    A queued task stops at once, a running built-in agent at its next turn, a command agent when it ends.
    """,
    whole_queue=True,
)
resume = _control(
    "resume", "Go on with ID, a plan or a task that was paused; `all` releases the queue.", whole_queue=True
)
