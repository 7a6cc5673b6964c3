"""`haikud check`: the guide's checklist before a task is delegated, without a daemon and without a spool."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haikud.interfaces.places import chosen_root, spool_option
from haikud.interfaces.plain import one_line
from haikud.interfaces.reading_requests import read_given
from haikud.interfaces.trouble import warn

if TYPE_CHECKING:
    from haikud.contracts.plan import Plan
    from haikud.engine.routing.advice import Check
    from haikud.interfaces.readiness import Readiness

EXIT_NOT_READY = 1
EXIT_REFUSED = 2

_WIDTH = 160


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--repository", type=click.Path(path_type=Path), metavar="PATH", help="The checkout to work on.")
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The daemon's settings file.")
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
@spool_option
@click.pass_context
def check(
    ctx: click.Context, file: str, repository: Path | None, config: Path | None, as_json: bool, spool: Path | None
) -> None:
    """Say for each task of the request in FILE (- is stdin) whether it is ready, whose work it looks like, and why.

    A folder with a Contextune plan (plan.yaml and tasks/ID.md) is taken too.

    Nothing is dropped; neither a daemon nor a spool is needed. Exit code 0: every line of the checklist is ticked and
    Haiku fits (or the plan names its model). 1: something to think about. 2: it would be rejected.
    """
    from haikud.interfaces.checking import check_request
    from haikud.interfaces.commands.run import settings_or_trouble
    from haikud.interfaces.given import CannotBeAdmitted
    from haikud.interfaces.readiness import look
    from haikud.spool.layout import SpoolLayout

    settings = settings_or_trouble(config)
    layout = SpoolLayout(chosen_root(spool))
    quiet = settings.model_copy(update={"routing": "off"})  # it is said below, and in full
    try:
        given = read_given(file)
        plan = check_request(given, layout=layout, settings=quiet, repository=repository, here=Path.cwd()).plan
    except CannotBeAdmitted as error:
        if not as_json:
            raise
        _print_json({"verdict": "refused", "faults": [fault.model_dump(mode="json") for fault in error.faults]})
        ctx.exit(EXIT_REFUSED)
    found = look(plan, settings, os.environ)
    ready = all(one.is_ready for one in found)
    if as_json:
        _print_json(_document(plan, found, ready=ready))
    else:
        for warning in (*given.notes, *plan.warnings):
            warn(one_line(warning))
        for line in _lines(found, ready=ready):
            click.echo(line)
    ctx.exit(0 if ready else EXIT_NOT_READY)


def _print_json(document: dict[str, Any]) -> None:
    from haikud.interfaces.answers import print_json

    print_json(document)


def _document(plan: Plan, found: list[Readiness], *, ready: bool) -> dict[str, Any]:
    return {
        "id": plan.id,
        "verdict": "ready" if ready else "not_ready",
        "warnings": plan.warnings,
        "tasks": [
            {
                "id": one.task.id,
                "ref": one.task.ref,
                "title": one.task.title,
                "ready": one.is_ready,
                "looks_like": str(one.advice.model),
                "score": one.advice.score,
                "grounds": [
                    {"weight": ground.weight, "factor": str(ground.factor), "says": ground.says}
                    for ground in one.advice.grounds
                ],
                "model": one.task.model,
                "checklist": [{"name": line.name, "ok": line.ok, "reason": line.reason} for line in one.checklist],
                "estimated_tokens": {"assignment": one.word_tokens, "files": one.file_tokens},
            }
            for one in found
        ],
    }


def _lines(found: list[Readiness], *, ready: bool) -> Iterator[str]:
    for one in found:
        yield click.style(f"{one.task.id}: {one_line(one.task.title, _WIDTH)}", bold=True)
        if not one.runs_on_model:
            yield "  runs without a model: there is nothing to judge"
            yield _check_line(one.checklist[-1])
            yield ""
            continue
        yield f"  {_whose(one)}"
        for ground in one.advice.grounds:
            yield f"    {one_line(ground, _WIDTH)}"
        for line in one.checklist:
            yield _check_line(line)
        files = f", and {one.file_tokens} in its files" if one.file_tokens else ""
        yield f"  --  about {one.word_tokens} tokens of assignment{files}"
        yield ""
    yield _sum(found, ready=ready)


def _check_line(line: Check) -> str:
    mark = click.style("ok", fg="green") if line.ok else click.style("no", fg="red")
    return f"  {mark}  {line.name}: {one_line(line.reason, _WIDTH)}"


def _whose(one: Readiness) -> str:
    """Whose work it looks like, and who will do it where the plan says so."""
    name = str(one.advice.model).capitalize()
    colour = "green" if one.is_haikus else "yellow"
    named = f"; the plan names its model: {one_line(one.task.model)}" if one.task.model else ""
    return f"looks like {click.style(name, fg=colour, bold=True)}'s work, score {one.advice.score:+d}{named}"


def _sum(found: list[Readiness], *, ready: bool) -> str:
    tasks = f"{len(found)} task{'' if len(found) == 1 else 's'}"
    if ready:
        return click.style(f"ready: {tasks}", fg="green")
    for_sonnet = sum(not one.is_haikus for one in found)
    unchecked = sum(not all(line.ok for line in one.checklist) for one in found)
    look = "looks" if len(found) == 1 else "look"
    told = [f"{for_sonnet} of {tasks} {look} like Sonnet's" if for_sonnet else "", f"{unchecked} with open boxes"]
    return click.style(f"not ready: {'; '.join(filter(None, told))}", fg="yellow")
