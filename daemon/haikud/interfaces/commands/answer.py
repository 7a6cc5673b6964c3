"""`haikud answer`: guidance for a task that waits with a question."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from haikud.interfaces.blocked import blocked_lines
from haikud.interfaces.dropping import drop
from haikud.interfaces.looking import (
    check_id,
    is_pending,
    open_escalations,
    pending_in,
    refs_of,
    state_of,
    why_set_aside,
)
from haikud.interfaces.places import find_spool, spool_option, warn_without_daemon
from haikud.interfaces.trouble import Trouble
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout

LOOK_SECONDS = 0.1
TAKEN_SECONDS = 3.0


@click.command()
@click.argument("ref", metavar="[REF]", required=False)
@click.argument("text", required=False)
@click.option("--retry", is_flag=True, help="Start a fresh conversation in the same worktree.")
@click.option("--cancel", is_flag=True, help="End the task instead.")
@click.option("--role", "--reassign", metavar="ROLE", help="Go on with another role.")
@click.option("--model", metavar="MODEL", help="Go on with another model.")
@spool_option
def answer(
    ref: str | None,
    text: str | None,
    retry: bool,
    cancel: bool,
    role: str | None,
    model: str | None,
    spool: Path | None,
) -> None:
    """Answer the open question of REF with TEXT; - reads it from stdin. Without REF, show what is asked.

    The task goes on in the same worktree, conversation and budget, with TEXT as the next message.
    """
    layout = find_spool(spool)
    if ref is None:
        _show_questions(layout)
        return
    check_id(ref)
    words = sys.stdin.read() if text == "-" else text or ""
    action = _action(retry=retry, cancel=cancel, reassign=role is not None or model is not None)
    if not words.strip() and action == "continue":
        _show_questions(layout, ref)
        if not open_escalations(layout, ref):
            _open_question(layout, ref)  # says why there is none
        raise Trouble("there is no answer to give", advice=f'haikud answer {ref} "TEXT", or - to read it from stdin')
    ref, escalation_id = _open_question(layout, ref)
    guidance = {
        "escalation_id": escalation_id,
        "guidance": words.strip(),
        "action": action,
        "role": role,
        "model": model,
    }
    document = {key: value for key, value in guidance.items() if value is not None}
    at = time.time()
    drop(layout.guidance, f"{ref}.json", (json.dumps(document, indent=2) + "\n").encode())
    if (role or model) and daemon_pid(layout) is not None:
        _check_that_it_is_taken(layout, f"{ref}.json", at)
    click.echo(f"answered {escalation_id or ref} ({action})")
    warn_without_daemon(layout, "the answer lies in guidance/")


def _check_that_it_is_taken(layout: SpoolLayout, name: str, at: float) -> None:
    """`Trouble` where the daemon does not know the role or the model; it looks within seconds."""
    end = time.monotonic() + TAKEN_SECONDS
    while time.monotonic() < end:
        is_there = is_pending(layout.guidance, name)
        reason = why_set_aside(layout, name, since=at)
        if reason is not None:
            raise Trouble(
                f"the daemon did not take the answer: {reason.get('reason')}",
                advice="the question is still open; answer it again",
                exit_code=5,
            )
        if not is_there:
            return
        time.sleep(LOOK_SECONDS)


def _show_questions(layout: SpoolLayout, identifier: str | None = None) -> None:
    """The open questions of a plan or task, or all, as the guide's reports."""
    found = open_escalations(layout, identifier)
    for number, (ref, escalation) in enumerate(found.items()):
        payload = escalation.get("payload")
        if number:
            click.echo()
        for line in blocked_lines(payload if isinstance(payload, dict) else {"ref": ref}):
            click.echo(line)
        click.echo(f'Answer it: haikud answer {ref} "TEXT"')
    if not found and identifier is None:
        click.echo("no question is open")


def _action(*, retry: bool, cancel: bool, reassign: bool) -> str:
    if cancel and (retry or reassign):
        raise Trouble(
            "--cancel does not go together with --retry, --role or --model",
            advice="a task that is cancelled goes on with nobody; choose one",
        )
    return "cancel" if cancel else "retry" if retry else "reassign" if reassign else "continue"


def _open_question(layout: SpoolLayout, identifier: str) -> tuple[str, str | None]:
    """The ref and the escalation id of the one open question; `Trouble` where there is none, or several."""
    found = open_escalations(layout, identifier)
    if len(found) > 1:
        raise Trouble(f"{identifier} has {len(found)} open questions", advice=f"name one of {', '.join(found)}")
    for ref, escalation in found.items():
        payload = escalation.get("payload")
        named = payload.get("escalation_id") if isinstance(payload, dict) else None
        return ref, str(named) if named else None
    if any(name.rpartition(".")[0] == identifier for name in pending_in(layout.guidance)):
        raise Trouble(
            f"an answer to {identifier} lies in guidance/ already and is not taken yet",
            advice="wait for the daemon to take it, or remove that file first",
        )
    refs = refs_of(layout, identifier)
    if not refs:
        raise Trouble(f"{layout.root} has no task {identifier}", advice="`haikud status` lists what there is")
    states = ", ".join(sorted({state_of(layout, ref) or "moving" for ref in refs}))
    raise Trouble(
        f"{identifier} has no open question: it is {states}",
        advice="questions lie in escalations/; `haikud retry` runs a failed task again",
    )
