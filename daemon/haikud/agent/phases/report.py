"""report: what result.json says, and the task's issue. Everything in it is known by now; nothing is measured here."""

from __future__ import annotations

from haikud.agent.attempt import Attempt, clean_text
from haikud.agent.endings import Ending
from haikud.agent.reports.error_reports import build_error_report
from haikud.agent.task_issue import tell_issue
from haikud.contracts.attempt import FailureClass, Result
from haikud.contracts.base import utc_now
from haikud.contracts.evidence import Evidence
from haikud.contracts.states import AttemptOutcome

_MOST_SUMMARY = 20_000


def report(attempt: Attempt, ending: Ending | None) -> Result:
    """Make the result, of a completed attempt where there is no `ending`; the issue is told."""
    spec = attempt.spec
    outcome = ending.outcome if ending else AttemptOutcome.COMPLETED
    error = ending.error if ending else None
    failure_class: FailureClass | None = None
    if error is not None and outcome is AttemptOutcome.EXITED_WITH_ERROR:
        failure_class = error.failure_class
    result = Result(
        ref=spec.ref,
        attempt=spec.attempt,
        outcome=outcome,
        failure_class=failure_class,
        exit_code=attempt.exit_code,
        summary=clean_text(attempt.summary[:_MOST_SUMMARY]),
        payload=attempt.payload,
        evidence=_evidence(attempt),
        question=ending.question if ending else None,
        intervention=ending.intervention if ending else None,
        quota=ending.quota if ending else None,
        error_report=build_error_report(attempt, error) if error else None,
        budget_purse=ending.budget_purse if ending else None,
        usage=attempt.usage,
        usage_by_model=attempt.usage_by_model,
        issue_number=attempt.issue[0] if attempt.issue else spec.task.issue_number,
        issue_url=attempt.issue[1] if attempt.issue else None,
        warnings=attempt.warnings,
        began_at=attempt.began_at,
        ended_at=utc_now(),
        phase_seconds={name: round(seconds, 3) for name, seconds in attempt.phase_seconds.items()},
        last_phase=attempt.phase,
    )
    try:
        return tell_issue(attempt, result)
    except OSError as error:  # the issue is for people; the result is what counts
        attempt.say(f"the task's issue could not be told: {error}")
    return result


def _evidence(attempt: Attempt) -> Evidence:
    order = attempt.spec.workspace
    fields = {
        "branch": order.branch if order else None,
        "worktree": order.worktree if order else None,
        **attempt.evidence,
        "sandbox": attempt.spec.sandbox,
        "left_running": attempt.left_running,
    }
    return Evidence.model_validate(fields)
