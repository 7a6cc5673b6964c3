"""The issue of a task, where the settings ask for one: in the local tracker (SPOOL/issues) or on GitHub.

Opened before the worktree, told how each attempt ended (a failure with its full error), closed by success: the guide's
"issue if asked" and "Document error in GitHub issue". Every effect carries a marker, so that an attempt which goes on
after a crash finds what the one before did; what an attempt said that died before its result makes way for the words of
the one that has a result. An issue that a plan names stays that plan's own business: it is commented
on where the tracker has it, and never closed. A tracker that fails never fails the task: that is a warning with its
cure, and where no issue could be opened, it is tried once more at the end.
"""

from __future__ import annotations

from typing import Any

from haikud.agent.attempt import Attempt
from haikud.agent.issue_words import fenced, log_line
from haikud.agent.trackers import effect_marker, tracker_of
from haikud.contracts.attempt import Result
from haikud.contracts.states import AttemptOutcome
from haikud.contracts.tracker import NoSuchIssue, Tracker, TrackerTrouble
from haikud.spool.models import UnreadableFile

_WITHOUT = "the task goes on without its issue"


def open_issue(attempt: Attempt) -> None:
    """Find or create the task's issue. Raises OSError, Stopped; a tracker that fails is a warning."""
    if not _is_wanted(attempt):
        return
    try:
        _open(attempt, tracker_of(attempt))
    except (TrackerTrouble, UnreadableFile) as error:
        attempt.check_stop()
        attempt.warn(f"{_WITHOUT}: {_with_cure(error)}")


def tell_issue(attempt: Attempt, result: Result) -> Result:
    """Say in the task's issue how the attempt ended; close it where the task is done. Raises OSError.

    The result as it is then: with the issue, if it could be opened only now, and with what went wrong here.
    """
    if not _is_wanted(attempt):
        return result
    try:
        tracker = tracker_of(attempt, at_the_end=True)
        if attempt.issue is None:
            if result.error_report is None and result.outcome is not AttemptOutcome.COMPLETED:
                return result
            _open(attempt, tracker)
        _tell(attempt, tracker, result)
    except NoSuchIssue as error:
        attempt.warn(f"{error}: nothing was noted there")
    except (TrackerTrouble, UnreadableFile) as error:
        text = f"the task's issue could not be told: {_with_cure(error)}"
        if any(warning.startswith(_WITHOUT) for warning in attempt.warnings):
            attempt.say(text)
        else:
            attempt.warn(text)
    changes: dict[str, Any] = {"warnings": attempt.warnings}
    if attempt.issue is not None:
        changes |= {"issue_number": attempt.issue[0], "issue_url": attempt.issue[1]}
    return result.model_copy(update=changes)


def _open(attempt: Attempt, tracker: Tracker) -> None:
    task = attempt.spec.task
    if task.issue_number is not None:
        url = tracker.url(task.issue_number) if attempt.spec.issues == "github" else None
        attempt.issue = (task.issue_number, url)
        return
    steps = "".join(f"- {step}\n" for step in attempt.assignment.steps)
    issue = tracker.create(
        task.title, f"{task.description}\n\n{steps}".strip(), [task.type] if task.type else [], _marker(attempt)
    )
    attempt.issue = (issue.number, tracker.url(issue.number))
    attempt.log.line(f"issue #{issue.number}: {issue.title}")


def _tell(attempt: Attempt, tracker: Tracker, result: Result) -> None:
    if attempt.issue is None:
        return
    number, _ = attempt.issue
    marker = f"{_marker(attempt)}.{attempt.spec.attempt}"
    was_told = tracker.comment(number, _words(attempt, result), marker, in_place_of=_unrecorded(attempt))
    if attempt.spec.task.issue_number is not None:
        return
    if result.outcome is AttemptOutcome.COMPLETED:
        tracker.close(number)
    elif was_told:
        tracker.update(number, state="open")  # the attempt that died may have closed it


def _with_cure(error: TrackerTrouble | UnreadableFile) -> str:
    return f"{error}. {error.cure}" if isinstance(error, TrackerTrouble) else str(error)


def _unrecorded(attempt: Attempt) -> set[str]:
    """Markers of the comments of earlier attempts that left no result."""
    numbers = range(1, attempt.spec.attempt)
    return {f"{_marker(attempt)}.{n}" for n in numbers if not attempt.task_paths.attempt(n).result.exists()}


def _is_wanted(attempt: Attempt) -> bool:
    return attempt.spec.issues != "none" and not attempt.is_operation


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
            f"While: {report.context.operation}" + (f" (`{report.context.command}`)" if report.context.command else ""),
            fenced(report.error.details),
            f"Next: {report.next_steps.suggested_action}",
        ]
    elif result.question is not None:
        lines += [result.question.reason, result.question.blocker]
    elif result.summary:
        lines.append(result.summary)
    lines.append(log_line(attempt))
    return "\n\n".join(line for line in lines if line)
