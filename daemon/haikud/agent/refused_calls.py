"""What a command agent's end means where the gateway has refused it calls.

An agent that calls the Messages API itself, such as a script, only sees an error of the API and fails. Why, the gateway
knows: its last refusal for a budget or a limit, where it came after the last call that was made.
"""

from __future__ import annotations

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Deferred, Ending, Failed
from haikud.agent.over_budget import no_further_call, over_budget
from haikud.contracts.attempt import QuotaStop
from haikud.contracts.gateway import AttemptAccount, Refusal

SETTLE_SECONDS = 2.0
"""That calls are waited for which the agent left under way: they end as it does."""


def ending_of_refused(attempt: Attempt, words: str, *, asks: bool = False) -> Ending | None:
    """How an agent that has failed ends the attempt, where refused calls are why; None: they are not.

    `words`: its own. `asks`: it ended with a question, which a budget's stands for, and nothing else.
    """
    account = attempt.account
    if account is None:
        return None
    account.finish(SETTLE_SECONDS)
    told = account.told
    if told is None or told.refused is None or not _is_last(told, attempt):
        return None
    refused = told.refused
    if refused.refusal is Refusal.BUDGET:
        message = no_further_call(refused.message)
        attempt.say(message)
        spent = attempt.spec.spent.cost_usd + account.charges.total.cost_usd
        question, error = over_budget(message, spent, refused.purse, words)
        return Failed(error, question, refused.purse)
    if refused.refusal in {Refusal.LIMIT, Refusal.UNREACHABLE} and not asks:
        seconds = refused.retry_after_seconds
        pause = attempt.spec.api.quota_pause_seconds if seconds is None else seconds
        attempt.say(f"stopped by the API's limits for {pause:g} s: {refused.message}")
        status = 429 if refused.refusal is Refusal.LIMIT else 502
        return Deferred(QuotaStop(status=status, message=refused.message, retry_after_seconds=pause))
    return None


def _is_last(told: AttemptAccount, attempt: Attempt) -> bool:
    """Whether no call has been made after the refusal."""
    last = attempt.account.last_call if attempt.account else None
    return told.refused is not None and (last is None or told.refused.at >= last)
