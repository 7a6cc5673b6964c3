"""What is asked and reported where a budget allows no further model call. Pure."""

from __future__ import annotations

from haikud.agent.errors import AgentError
from haikud.contracts.attempt import FailureClass, Question
from haikud.contracts.error_report import ErrorType
from haikud.contracts.gateway import Purse

_SETTINGS = {
    Purse.TASK: "budgets.task_usd; a max_cost_usd that the task states itself stays",
    Purse.PLAN: "budgets.plan_usd",
    Purse.DAY: "budgets.day_usd",
}


_MOST_WORDS = 2_000
"""Characters of an agent's last words in a question; log and transcript have the rest."""


def no_further_call(why: str) -> str:
    """The message, from what the gateway said when it refused a call."""
    return f"The budget does not allow another model call: {why.rstrip('.')}."


def over_budget(
    message: str, spent_usd: float, purse: Purse | None, last_words: str = ""
) -> tuple[Question, AgentError]:
    """The question and the error; `spent_usd`: on the whole task; `purse`: whose budget it was, where that is known."""
    setting = _SETTINGS[purse or Purse.TASK]
    whose = "task" if purse is None else purse.value
    question = Question(
        reason=f"The {whose} has used up its budget.",
        blocker=message,
        context=[
            f"Spent on this task so far: {spent_usd:.4f} USD.",
            *([f"The agent's last words: {last_words[:_MOST_WORDS]}"] if last_words else []),
        ],
        options=[
            f"Raise the budget in haikud.yaml ({setting}), reload or restart the daemon, and let it go on",
            "Finish the work by hand: it is in the worktree",
            "Cancel the task",
        ],
        recommendation="Look at the worktree first: the work may be nearly done.",
    )
    error = AgentError(
        ErrorType.BUDGET_EXCEEDED,
        "BUDGET_EXCEEDED",
        message,
        failure_class=FailureClass.BUDGET,
        suggested_action=f"Raise the budget ({setting}), or split the task.",
    )
    return question, error
