"""deliver: push the branch, only where the settings ask for it. A push that fails is the attempt's failure."""

from __future__ import annotations

import dataclasses

from haikud.agent.attempt import Attempt
from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.agent.worktree import check_refusal, git_failure, order_of
from haikud.contracts.attempt import FailureClass
from haikud.workspace.delivery import push_branch
from haikud.workspace.git import WorkspaceError


def deliver(attempt: Attempt) -> None:
    """Push where the settings say so and there is something to push. Raises Failed."""
    settings = attempt.spec.git
    if not settings.push or attempt.spec.workspace is None or attempt.is_operation:
        return
    if not attempt.evidence.get("commits"):
        attempt.log.line("nothing to push: the branch has no commit of its own")
        return
    order = order_of(attempt)
    try:
        push_branch(order, settings.remote)
    except WorkspaceError as error:
        operation = f"Pushing {order.branch} to {settings.remote}"
        check_refusal(error, operation)
        failure = git_failure(error, operation)
        raise Failed(_perhaps_network(failure)) from error
    attempt.log.line(f"pushed {order.branch} to {settings.remote}")


def _perhaps_network(failure: AgentError) -> AgentError:
    signs = ("Could not resolve host", "Connection", "timed out", "Could not read from remote", "unable to access")
    if failure.code == "PUSH_FAILED" and any(sign in failure.message for sign in signs):
        return dataclasses.replace(failure, failure_class=FailureClass.NETWORK)
    return failure
