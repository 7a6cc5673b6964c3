"""Delivery of a branch to a remote: a plain push that never forces.

May be repeated after a crash at any point: git compares first, and sends nothing where the remote has the commit. A
push whose answer was lost is looked up before it counts as failed, so that what has arrived is never called missing.

Uses the user's own configuration and ssh agent, and the secrets that it is given, runs no hook and asks nothing of a
terminal. Fails with `PushFailed`, whose `code` says whether the remote refused it, could not be reached, or is not
configured.
"""

from __future__ import annotations

from collections.abc import Mapping

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.git import NETWORK_SECONDS, Git, GitError, WorkspaceError, network_environment
from haikud.workspace.repository import current_head

_LOOK_SECONDS = 60.0


class PushFailed(WorkspaceError):  # noqa: N818 - says what is the case
    """The branch could not be delivered; it is complete in the repository."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code  # NO_REMOTE, PUSH_REJECTED or PUSH_FAILED


def push_branch(
    order: WorkspaceOrder,
    remote: str = "origin",
    timeout: float = NETWORK_SECONDS,
    *,
    secrets: Mapping[str, str] | None = None,
) -> str:
    """Push the task's branch to a configured remote under its own name; the head that was pushed. Never forces."""
    git = Git(order.git_common_dir)
    remotes = git.run("remote").split()
    if remote not in remotes:
        have = f"it has {', '.join(remotes)}" if remotes else "it has none"
        raise PushFailed(f"{order.repository} has no remote {remote!r} ({have}); see `git remote add`", "NO_REMOTE")
    head = current_head(order.git_common_dir, order.branch)
    if head is None:
        raise PushFailed(f"there is no branch {order.branch} to push", "PUSH_FAILED")
    ref = f"refs/heads/{order.branch}"
    environment = network_environment() | dict(secrets or {})
    options = ("--porcelain", "--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no")
    try:
        ran = git.ask(*("push", *options, remote, f"{head}:{ref}"), ok=(0, 1), timeout=timeout, env=environment)
    except GitError as error:
        if _has_arrived(git, remote, ref, head, timeout, environment):
            return head
        raise PushFailed(f"pushing {order.branch} to {remote} failed: {error}", "PUSH_FAILED") from error
    if ran.exit_code == 0 or _has_arrived(git, remote, ref, head, timeout, environment):
        return head
    refused = [line.split("\t")[-1] for line in ran.text.splitlines() if line.startswith("!")]
    reason = "; ".join(refused) or ran.stderr.rpartition("\n")[2] or "no reason given"
    code = "PUSH_REJECTED" if refused else "PUSH_FAILED"
    raise PushFailed(f"{remote} refused {order.branch}: {reason}; nothing was forced", code)


def _has_arrived(git: Git, remote: str, ref: str, head: str, timeout: float, environment: Mapping[str, str]) -> bool:
    """Whether the remote's ref is at this commit; a remote that cannot be asked says no."""
    try:
        seconds = min(timeout, _LOOK_SECONDS)
        said = git.ask("ls-remote", "--quiet", remote, ref, timeout=seconds, env=environment).text
    except GitError:
        return False
    return any(line.split("\t") == [head, ref] for line in said.splitlines())
