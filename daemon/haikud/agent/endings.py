"""How an attempt ends before its last phase: a family of exceptions that phases raise and the runner catches.

Each one carries what result.json needs to say about it. Completion is not among them: it is the last phase's end.
"""

from __future__ import annotations

from haikud.agent.errors import AgentError
from haikud.contracts.attempt import EndOrder, Orders, Question, QuotaStop
from haikud.contracts.error_report import ErrorType
from haikud.contracts.gateway import Purse
from haikud.contracts.intervention import Intervention
from haikud.contracts.states import AttemptOutcome


class Ending(Exception):  # noqa: N818 -- most endings are no errors
    """The attempt ends here. An `error` becomes the result's error report."""

    outcome: AttemptOutcome
    error: AgentError | None = None
    question: Question | None = None
    quota: QuotaStop | None = None
    intervention: Intervention | None = None
    budget_purse: Purse | None = None


class Failed(Ending):
    """The agent, its tests or its surroundings failed."""

    outcome = AttemptOutcome.EXITED_WITH_ERROR

    def __init__(self, error: AgentError, question: Question | None = None, purse: Purse | None = None) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error
        self.question = question  # what a budget that is used up asks
        self.budget_purse = purse  # whose that was


class Hindered(Ending):
    """The machine refused what the attempt needs (room, processes, memory): nothing is said about the task."""

    outcome = AttemptOutcome.ENVIRONMENT

    def __init__(self, error: AgentError) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


class Escalated(Ending):
    """The agent (or the runner, before a merge conflict) asks a question."""

    outcome = AttemptOutcome.ESCALATED

    def __init__(self, question: Question) -> None:
        super().__init__(question.reason)
        self.question = question


class Intervened(Escalated):
    """A monitor ended it: escalated, with the facts. The engine may begin it afresh instead."""

    def __init__(self, intervention: Intervention, question: Question) -> None:
        super().__init__(question)
        self.intervention = intervention


class Paused(Ending):
    """The task was paused; it ended between two turns."""

    outcome = AttemptOutcome.PAUSED


class Deferred(Ending):
    """The account's limits stopped the attempt."""

    outcome = AttemptOutcome.QUOTA

    def __init__(self, quota: QuotaStop) -> None:
        super().__init__(quota.message)
        self.quota = quota


class Stopped(Ending):
    """TERM arrived; why stands in orders.json. Without an order (a machine going down) it is an interruption."""

    def __init__(self, orders: Orders, seconds: float) -> None:
        reason = orders.reason or _REASONS.get(orders.end, "ended by a signal without an order")
        super().__init__(reason)
        self.outcome = _OUTCOMES.get(orders.end, AttemptOutcome.INTERRUPTED)
        if orders.end is EndOrder.TIME_LIMIT:
            message = f"The attempt was ended at its time limit, after {seconds:.0f} s"
            self.error = AgentError(
                ErrorType.TIMEOUT,
                "ATTEMPT_TIMEOUT",
                message,
                details=orders.reason,
                suggested_action="Raise limits.attempt_seconds, or split the task into smaller ones",
            )
        elif orders.end is EndOrder.INTERRUPT:
            self.error = AgentError(
                ErrorType.INTERRUPTED,
                "INTERRUPTED",
                "The attempt was interrupted before it was done",
                details=reason,
                suggested_action="Nothing: the task goes on when the daemon runs again",
            )
        elif orders.end is None:
            self.error = AgentError(
                ErrorType.INTERRUPTED,
                "SIGNALLED",
                "The runner was ended by a signal that haikud did not send",
                details="Its agent or one of the task's commands, a person, or the system going down sent it",
                suggested_action="Look in the log for a command that ends processes it did not start (kill, pkill, "
                "killall); the task goes on by itself, but not for ever (retries.orphans)",
            )


_OUTCOMES: dict[EndOrder | None, AttemptOutcome] = {
    EndOrder.CANCEL: AttemptOutcome.CANCELLED,
    EndOrder.INTERRUPT: AttemptOutcome.INTERRUPTED,
    EndOrder.TIME_LIMIT: AttemptOutcome.TIMED_OUT,
}

_REASONS: dict[EndOrder | None, str] = {
    EndOrder.CANCEL: "the task was cancelled",
    EndOrder.INTERRUPT: "the daemon was told to end its agents",
    EndOrder.TIME_LIMIT: "the attempt reached its time limit",
}
