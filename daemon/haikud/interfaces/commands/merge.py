"""`haikud merge`: a plan's finished branches into the main branch, preflighted and tested."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from haikud.interfaces.answers import print_json
from haikud.interfaces.blocked import blocked_lines
from haikud.interfaces.looking import check_id, plan_of
from haikud.interfaces.places import find_spool, spool_option
from haikud.interfaces.plain import one_line, safe
from haikud.interfaces.trouble import Trouble, note, warn

if TYPE_CHECKING:
    from haikud.engine.merging.merge import MergeReport

EXIT_BLOCKED = 3


@click.command()
@click.argument("plan", metavar="PLAN")
@click.option("--into", metavar="BRANCH", help="Merge into this branch.  [default: the plan's main branch]")
@click.option("--partial", is_flag=True, help="Merge what succeeded, though not all of the plan has.")
@click.option("--dry-run", "dry", is_flag=True, help="Only see whether it merges; run no tests, move nothing.")
@click.option("--test-command", metavar="CMD", help="Run this on the result instead of the tasks' test commands.")
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The daemon's settings file.")
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
@spool_option
@click.pass_context
def merge(
    ctx: click.Context,
    plan: str,
    into: str | None,
    partial: bool,
    dry: bool,
    test_command: str | None,
    config: Path | None,
    as_json: bool,
    spool: Path | None,
) -> None:
    """Merge the branches of PLAN's succeeded tasks, those depended upon first.

    The result is built beside everything, and the test command runs on it; then the branch moves there, with the
    checkout that has it out, which must have no uncommitted changes. Exit codes: 0 merged (or nothing was left to
    merge), 1 not now (the reason is said), 2 usage, 3 blocked by a conflict or by tests that fail: the report says
    where, nothing was changed.
    """
    check_id(plan)
    if plan_of(plan) != plan:
        raise Trouble("a plan is merged as a whole", advice=f"haikud merge {plan_of(plan)}")
    layout = find_spool(spool)
    from haikud.engine.merging.choice import NotMergeable
    from haikud.engine.merging.merge import Blocked, MergeWish, Voice, merge_plan
    from haikud.interfaces.commands.run import mask_secrets, settings_or_trouble
    from haikud.sandbox.commands import CannotStart
    from haikud.sandbox.prctl import become_subreaper, make_undumpable
    from haikud.sandbox.trees import TreeStillAlive
    from haikud.spool.layout import SpoolLayout
    from haikud.workspace.git import WorkspaceError

    settings = settings_or_trouble(config)
    mask_secrets(settings, None)
    wish = MergeWish(plan, into=into, partial=partial, dry=dry, test_command=test_command)
    become_subreaper()  # what the tests leave running comes to us, and is ended
    make_undumpable()  # they shall not read our environment
    printer = _Printer()
    try:
        with _ended_by_term():
            resolved = SpoolLayout(layout.root.resolve())
            report = merge_plan(resolved, wish, settings, os.environ, Voice(note, printer.hear))
    except NotMergeable as error:
        raise Trouble(one_line(error), advice=error.advice, exit_code=2 if error.is_usage else 1) from None
    except Blocked as blocked:
        _show_blocked(blocked.message.model_dump(mode="json"), as_json=as_json)
        ctx.exit(EXIT_BLOCKED)
    except (WorkspaceError, CannotStart, TreeStillAlive) as error:
        _refuse(error)
    finally:
        printer.close()
    for warning in report.choice.warnings:
        warn(one_line(warning))
    if as_json:
        print_json(report.as_json())
        return
    for line in _lines(report):
        click.echo(line)


def _refuse(error: Exception) -> NoReturn:
    advice = getattr(error, "advice", "") or "nothing was changed; see to it and run haikud merge again"
    raise Trouble(one_line(error), advice=advice, exit_code=1) from None


def _show_blocked(message: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(message)
        return
    for line in blocked_lines(message["payload"]):
        click.echo(line)


def _lines(report: MergeReport) -> Iterator[str]:
    plan_id = report.choice.plan.id
    for one in report.repositories:
        count = sum(step.commit is not None for step in one.merge.steps)
        branches = f"{count} branch{'es' * (count != 1)}"
        where = f"{one.choice.into} in {one.choice.top}"
        if not one.is_needed:
            yield f"{where}: all of it is merged already"
        elif report.dry:
            yield f"{where}: {branches} would merge without conflict; nothing was tested or changed"
        else:
            tested = f"tests pass: {one.runs[-1].command}" if one.runs else "not tested"
            yield f"{where}: merged {branches}, {one.merge.onto[:12]} -> {one.merge.result[:12]} ({one_line(tested)})"
    for left in report.choice.left_out:
        yield f"  not merged: {left.ref} {one_line(left.why)}"
    if not report.dry:
        yield f"  the worktrees of {plan_id} are still there; `haikud prune --older-than 0s` removes merged ones"


class _Printer:
    """What test commands print, line by line on stderr, harmless for a terminal."""

    def __init__(self) -> None:
        self._rest = b""

    def hear(self, data: bytes) -> None:
        """More output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(line)

    def close(self) -> None:
        """The end of it."""
        if self._rest:
            self._show(self._rest)
        self._rest = b""

    def _show(self, line: bytes) -> None:
        click.echo(f"  | {safe(line.decode('utf-8', 'replace').rstrip(chr(13)))}", err=True)
        sys.stderr.flush()


@contextmanager
def _ended_by_term() -> Iterator[None]:
    """TERM ends a merge as Ctrl-C does: with what it started, and its folder cleared away."""

    def interrupt(number: int, frame: object) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
