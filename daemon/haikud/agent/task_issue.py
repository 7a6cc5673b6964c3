"""The issue of a task in the local tracker (SPOOL/issues), where the settings ask for one.

Opened before the worktree, told how each attempt ended (a failure with its full error), closed by success: the guide's
"issue if asked" and "Document error in GitHub issue". Every effect carries a marker, so that an attempt which goes on
after a crash finds what the one before did; what an attempt said that died before its result makes way for the words of
the one that has a result. An issue that a plan names stays that plan's own business: it is commented
on where the tracker has it, and never closed.
"""

from __future__ import annotations

from haikud.agent.attempt import Attempt
from haikud.agent.trackers import effect_marker, tracker_of
from haikud.contracts.attempt import Result
from haikud.contracts.states import AttemptOutcome
from haikud.contracts.tracker import NoSuchIssue
from haikud.spool.models import UnreadableFile


def open_issue(attempt: Attempt) -> None:
    """Find or create the task's issue. Raises OSError; one that somebody broke is a warning."""
    spec = attempt.spec
    if not _is_wanted(attempt):
        return
    tracker = tracker_of(attempt)
    if spec.task.issue_number is not None:
        attempt.issue = (spec.task.issue_number, None)
        return
    steps = "".join(f"- {step}\n" for step in spec.task.steps)
    body = f"{spec.task.description}\n\n{steps}".strip()
    try:
        issue = tracker.create(spec.task.title, body, [spec.task.type], _marker(attempt))
    except UnreadableFile as error:
        attempt.warn(f"the task goes on without its issue: {error}")
        return
    attempt.issue = (issue.number, tracker.url(issue.number))
    attempt.log.line(f"issue #{issue.number}: {issue.title}")


def tell_issue(attempt: Attempt, result: Result) -> None:
    """Say in the task's issue how the attempt ended; close it where the task is done. Raises OSError."""
    if attempt.issue is None or not _is_wanted(attempt):
        return
    number, _ = attempt.issue
    tracker = tracker_of(attempt)
    unrecorded = _unrecorded(attempt)
    try:
        words = _words(attempt, result)
        marker = f"{_marker(attempt)}.{attempt.spec.attempt}"
        was_told = tracker.comment(number, words, marker, in_place_of=unrecorded)
        if attempt.spec.task.issue_number is not None:
            return
        if result.outcome is AttemptOutcome.COMPLETED:
            tracker.close(number)
        elif was_told:
            tracker.update(number, state="open")  # the attempt that died may have closed it
    except NoSuchIssue as error:
        attempt.log.line(f"{error}: nothing was noted there")


def _unrecorded(attempt: Attempt) -> set[str]:
    """Markers of the comments of earlier attempts that left no result."""
    numbers = range(1, attempt.spec.attempt)
    return {f"{_marker(attempt)}.{n}" for n in numbers if not attempt.task_paths.attempt(n).result.exists()}


def _is_wanted(attempt: Attempt) -> bool:
    return attempt.spec.issues == "local" and not attempt.is_operation


def _marker(attempt: Attempt) -> str:
    return effect_marker(attempt, "task")


def _words(attempt: Attempt, result: Result) -> str:
    evidence, report = result.evidence, result.error_report
    lines = [f"Attempt {result.attempt} ended: {result.outcome}. Cost: {result.usage.cost_usd:.4f} USD."]
    if evidence is not None and evidence.commits:
        lines.append(f"Branch {evidence.branch}: {evidence.commits} commit(s), {evidence.diffstat}.")
    if report is not None:
        lines += [
            f"{report.error.code}: {report.error.message}",
            report.error.details,
            report.next_steps.suggested_action,
        ]
    elif result.question is not None:
        lines += [result.question.reason, result.question.blocker]
    elif result.summary:
        lines.append(result.summary)
    lines.append(f"Log: {attempt.layout.log_link(attempt.spec.ref)}")
    return "\n\n".join(line for line in lines if line)
