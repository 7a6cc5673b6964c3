"""`haikud logs`: an agent's log, over all attempts of its task."""

from __future__ import annotations

from pathlib import Path

import click

from haikud.interfaces.following import LogPrinter, follow
from haikud.interfaces.looking import (
    all_final,
    check_id,
    check_task_of_known_plan,
    is_known,
    open_escalations,
    refs_of,
)
from haikud.interfaces.places import find_spool, spool_option, warn_without_daemon
from haikud.interfaces.trouble import Trouble, note, warn
from haikud.interfaces.waiting import EndKind, look_for_answer
from haikud.spool.layout import SpoolLayout


@click.command()
@click.argument("identifier", metavar="REF")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the task has ended.")
@spool_option
def logs(identifier: str, following: bool, spool: Path | None) -> None:
    """Print the log of REF, a task; of a plan with several tasks all logs, each line with its task's name.

    With -f the log is followed over all attempts, until the task has ended.
    """
    layout = find_spool(spool)
    check_id(identifier)
    if following:
        _follow(layout, identifier)
        return
    if not refs_of(layout, identifier):
        _say_why_there_is_none(layout, identifier)
    LogPrinter(layout, identifier).print_new(whole=False)


def _follow(layout: SpoolLayout, identifier: str) -> None:
    check_task_of_known_plan(layout, identifier)
    if not is_known(layout, identifier):
        warn(f"{layout.root} knows nothing of {identifier} yet; waiting for it to appear")
    if not all_final(layout, identifier):
        warn_without_daemon(layout, "nothing new will be started")
    asked: set[str] = set()

    def is_over() -> bool:
        for ref, escalation in open_escalations(layout, identifier).items():
            key = str(escalation.get("payload", {}).get("escalation_id", ref))
            if key not in asked:
                asked.add(key)
                note(f'{ref} asks a question: haikud wait {ref} shows it, haikud answer {ref} "TEXT" answers it')
        if refs_of(layout, identifier):
            return all_final(layout, identifier)
        end = look_for_answer(layout, identifier)
        return end is not None and end.kind is EndKind.RESPONSE

    follow(layout, identifier, is_over=is_over)
    if not refs_of(layout, identifier):
        _say_why_there_is_none(layout, identifier)


def _say_why_there_is_none(layout: SpoolLayout, identifier: str) -> None:
    end = look_for_answer(layout, identifier)
    if end is not None and end.document.get("status") == "rejected":
        raise Trouble(f"{identifier} was rejected and has no log", advice=f"see why: haikud wait {identifier}")
    if end is not None:
        raise Trouble(f"{identifier} has an answer but no log any more", advice=f"see it: haikud wait {identifier}")
    raise Trouble(
        f"{layout.root} has no task or plan {identifier}",
        advice="`haikud status` lists what there is; -f waits for one that is on its way",
    )
