"""deliver: push the branch, only where the settings ask for it. A push that fails is the attempt's failure."""

from __future__ import annotations

from haikud.agent.attempt import Attempt
from haikud.agent.worktree import git_step, order_of
from haikud.workspace.delivery import push_branch


def deliver(attempt: Attempt) -> None:
    """Push where the settings say so and there is something to push. Raises Failed, Hindered."""
    settings = attempt.spec.git
    if not settings.push or attempt.spec.workspace is None or attempt.is_operation:
        return
    if not attempt.evidence.get("commits"):
        attempt.log.line("nothing to push: the branch has no commit of its own")
        return
    order = order_of(attempt)
    operation = f"Pushing {order.branch} to {settings.remote}"
    git_step(attempt, operation, lambda: push_branch(order, settings.remote, secrets=attempt.given))
    attempt.log.line(f"pushed {order.branch} to {settings.remote}")
