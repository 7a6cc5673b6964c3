"""`haikud merge`: build the result off to the side, test it, and only then move the branch.

Each repository of a plan is merged by itself; all of them are built, asked and tested before the first is moved.
Killed at any moment, a branch is where it was or at the tested result; the next call clears away what was left and
begins anew, and finds merged what is merged.

Fails with `NotMergeable`, `Blocked` (a conflict, or tests that do not pass: nothing was changed), `CannotMove`,
`MergeIsRunning`, another WorkspaceError, OSError, CannotStart or TreeStillAlive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from haikud.contracts.base import JsonObject, utc_now
from haikud.contracts.completion import EscalationPayload
from haikud.contracts.envelope import Response
from haikud.contracts.ledger import LedgerEntry
from haikud.contracts.settings import Settings
from haikud.engine.merging.choice import Choice, RepositoryChoice, choose
from haikud.engine.merging.places import clear_left_merges, end_merge
from haikud.engine.merging.report import as_message, conflict_report, red_report
from haikud.engine.merging.testing import CheckRun, build_environment, check_result
from haikud.engine.merging.walls import merge_sandbox
from haikud.sandbox.egress.within import reach_out
from haikud.spool.layout import SpoolLayout
from haikud.spool.ledger import append_entry
from haikud.spool.models import UnreadableFile, read_model
from haikud.workspace.commits import HAIKUD_IDENTITY
from haikud.workspace.git import Git
from haikud.workspace.main_branch import CannotMove, check_can_move, move_branch
from haikud.workspace.merge_place import make_merge_place, merge_lock, merge_places
from haikud.workspace.merging import BranchConflict, Merge, build_merge


@dataclass(frozen=True)
class MergeWish:
    """What is asked for."""

    plan_id: str
    into: str | None = None  # default: the main branch that the plan was admitted with
    partial: bool = False
    dry: bool = False
    test_command: str | None = None  # instead of the tasks' own


@dataclass
class RepositoryMerge:
    """A repository's merge, as far as it has come."""

    choice: RepositoryChoice
    merge: Merge
    runs: list[CheckRun] = field(default_factory=list)
    moved: bool = False
    checkout: str | None = None  # that moved with the branch

    @property
    def is_needed(self) -> bool:
        """Whether there is anything that the branch has not."""
        return self.merge.result != self.merge.onto


@dataclass
class MergeReport:
    """How a merge ended."""

    choice: Choice
    repositories: list[RepositoryMerge]
    dry: bool

    def as_json(self) -> JsonObject:
        """For `--json`."""
        return {
            "plan": self.choice.plan.id,
            "status": "success",
            "dry_run": self.dry,
            "repositories": [_repository_json(one) for one in self.repositories],
            "left_out": [{"ref": one.ref, "why": one.why} for one in self.choice.left_out],
            "warnings": self.choice.warnings,
        }


class Blocked(Exception):  # noqa: N818 - says what is the case
    """A conflict, or tests that do not pass. Nothing was changed; `message` is the escalation."""

    def __init__(self, message: Response, payload: EscalationPayload) -> None:
        self.message = message
        self.payload = payload
        super().__init__(payload.blocker)


@dataclass(frozen=True)
class Voice:
    """Where a merge says what it does."""

    tell: Callable[[str], None]  # a line
    hear: Callable[[bytes], None]  # what a test command prints


def merge_plan(
    layout: SpoolLayout, wish: MergeWish, settings: Settings, host: Mapping[str, str], voice: Voice
) -> MergeReport:
    """Merge a plan's finished branches. `host` is our own environment, of which tests get what the settings name."""
    began = time.monotonic()
    choice = choose(layout, wish.plan_id, into=wish.into, partial=wish.partial, listed=settings.repositories)
    with ExitStack() as locks:
        for repository in choice.repositories:
            locks.enter_context(merge_lock(repository.common))
        # As it is under the locks.
        choice = choose(layout, wish.plan_id, into=wish.into, partial=wish.partial, listed=settings.repositories)
        for repository in choice.repositories:
            for plan_id in clear_left_merges(repository.common):
                voice.tell(f"cleared away what a merge of {plan_id} had left when it was killed")
        run = _Run(layout, wish, settings, host, voice, choice, began)
        merges = [run.build(repository) for repository in choice.repositories]
        needed = [one for one in merges if one.is_needed]
        for one in needed:
            check_can_move(one.choice.common, one.choice.into, one.merge.onto, one.merge.result)
        if not wish.dry:
            for one in needed:
                run.test(one)
            for one in needed:
                run.move(one, [other for other in merges if other.moved])
    return MergeReport(choice, merges, wish.dry)


@dataclass(frozen=True)
class _Run:
    layout: SpoolLayout
    wish: MergeWish
    settings: Settings
    host: Mapping[str, str]
    voice: Voice
    choice: Choice
    began: float

    def build(self, where: RepositoryChoice) -> RepositoryMerge:
        try:
            merge = build_merge(
                where.common, where.top, (where.into, where.onto), where.branches, _identity(where, self.settings)
            )
        except BranchConflict as conflict:
            raise self._blocked(conflict_report(self.choice.plan, where, conflict, self._cost())) from conflict
        for step in merge.steps:
            what = "merges" if step.commit is not None else "is merged already"
            self.voice.tell(f"{step.wanted.ref}: {step.wanted.branch} {what}")
        return RepositoryMerge(where, merge)

    def test(self, one: RepositoryMerge) -> None:
        """Raises Blocked where setup or tests do not pass."""
        where = one.choice
        commands = self._commands(where)
        if not any(what == "test" for what, _ in commands):
            self.voice.tell(f"{where.top}: no test command; the result is not tested (--test-command names one)")
            return
        try:
            place = make_merge_place(
                where.order, self.wish.plan_id, where.into, one.merge.result, self.settings.git.copy_files
            )
            variables = {
                "TEST_COMMAND": commands[-1][1],
                "MAIN_BRANCH": where.into,
                "PROJECT_TYPE": next((task.context.project_type or "" for task in where.tasks), ""),
                "HAIKUD_PLAN_ID": self.wish.plan_id,
            }
            environment = build_environment(place, variables, _identity(where, self.settings), self.settings, self.host)
            say = self.voice.tell
            with merge_sandbox(place, where, self.layout.root, self.settings, say) as sandbox:
                environment = reach_out(environment, sandbox)
                one.runs += check_result(place, commands, environment, self.settings, sandbox, self.voice.hear, say)
        finally:
            for owner in merge_places(where.common):
                end_merge(where.common, owner)
        if not all(run.passed for run in one.runs):
            raise self._blocked(red_report(self.choice.plan, where, one.merge, one.runs, self._cost()))

    def move(self, one: RepositoryMerge, moved: list[RepositoryMerge]) -> None:
        """Raises CannotMove, which says what was moved before."""
        where = one.choice
        try:
            checkout = move_branch(
                where.common, where.into, one.merge.onto, one.merge.result, f"haikud merge {self.wish.plan_id}"
            )
        except CannotMove as error:
            if not moved:
                raise
            done = ", ".join(f"{other.choice.into} in {other.choice.top}" for other in moved)
            raise CannotMove(f"{error}; moved before that: {done}", error.advice) from error
        one.moved, one.checkout = True, str(checkout) if checkout else None
        self._note(
            "merged",
            f"merged into {where.into} of {where.top}: {one.merge.onto[:12]} -> {one.merge.result[:12]}",
            _repository_json(one),
        )

    def _commands(self, where: RepositoryChoice) -> list[tuple[str, str]]:
        """Setup first, then the tests; each command line once."""
        contexts = [task.context for task in where.tasks]
        setup = [context.setup_command for context in contexts]
        tests = [self.wish.test_command] if self.wish.test_command else [one.test_command for one in contexts]
        pairs = [*(("setup", one) for one in setup if one), *(("test", one) for one in tests if one)]
        return list(dict.fromkeys(pairs))

    def _blocked(self, payload: EscalationPayload) -> Blocked:
        self._note("merge_blocked", payload.blocker, {"reason": payload.reason})
        return Blocked(as_message(self.choice.plan, payload, utc_now(), time.monotonic() - self.began), payload)

    def _note(self, event: str, message: str, detail: JsonObject) -> None:
        """In the plan's ledger, which is one write at its end and safe beside a daemon; never needed to go on."""
        try:
            entry = LedgerEntry(at=utc_now(), event=event, message=message, detail=detail)
            append_entry(self.layout.plan(self.wish.plan_id), entry)
        except OSError as error:
            self.voice.tell(f"the plan's ledger was not written: {error}")

    def _cost(self) -> float:
        """What the plan's agents have cost."""
        total = 0.0
        for task in self.choice.plan.tasks:
            try:
                answer = read_model(self.layout.task(task.ref).response, Response)
            except (OSError, UnreadableFile):
                continue
            total += answer.metrics.cost_usd if answer is not None else 0.0
        return round(total, 9)


def _identity(where: RepositoryChoice, settings: Settings) -> tuple[str, str]:
    """Who merges: the settings' name, else the repository's own, else haikud."""
    git = Git(where.common)
    name = settings.git.user_name or git.ask("config", "--get", "user.name", ok=(0, 1)).text.strip()
    email = settings.git.user_email or git.ask("config", "--get", "user.email", ok=(0, 1)).text.strip()
    return name or HAIKUD_IDENTITY[0], email or HAIKUD_IDENTITY[1]


def _repository_json(one: RepositoryMerge) -> JsonObject:
    return {
        "repository": one.choice.top,
        "into": one.choice.into,
        "from": one.merge.onto,
        "to": one.merge.result,
        "moved": one.moved,
        "checkout": one.checkout,
        "branches": [
            {
                "ref": step.wanted.ref,
                "branch": step.wanted.branch,
                "sha": step.wanted.tip,
                "commit": step.commit,
                "already_merged": step.commit is None,
            }
            for step in one.merge.steps
        ],
        "checks": [
            {"kind": run.what, "command": run.command, "exit_code": run.exit_code, "seconds": run.seconds}
            | {"timed_out": run.timed_out, "flaky": run.flaky}
            for run in one.runs
        ],
    }
