"""What of the machine an attempt's untrusted commands get to see: the policy of its sandbox."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from haikud.agent.attempt import Attempt
from haikud.agent.environment import private_folders
from haikud.agent.worktree import order_of
from haikud.sandbox.policy import Policy


def policy_of(attempt: Attempt) -> Policy:
    """The worktree, out/ and the private git folder to write; the attempt's own papers and git's objects to read."""
    spec, paths = attempt.spec, attempt.paths
    _, temporary = private_folders(paths)
    writable, readable = [attempt.worktree, paths.out], [paths.assignment, paths.guidance, paths.dependencies]
    if spec.workspace is not None:
        order = order_of(attempt)
        writable.append(Path(order.private_git))
        readable.append(Path(order.git_common_dir) / "objects")
    port = urlsplit(spec.gateway.base_url).port if spec.gateway else None
    return Policy(
        mode=spec.sandbox,
        writable=tuple(writable),
        readable=tuple(readable),
        temporary=temporary,
        ports=(port,) if port else (),
        settings=spec.isolation,
    )
