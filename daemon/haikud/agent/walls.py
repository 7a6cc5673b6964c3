"""What of the machine an attempt's untrusted commands get to see and reach: its sandbox, and that one's policy."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from haikud.agent.attempt import Attempt
from haikud.agent.environment import private_folders
from haikud.agent.worktree import order_of
from haikud.sandbox.egress.within import local_ports, open_sandbox
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy
from haikud.sandbox.settings_above import settings_above
from haikud.workspace.borrowed import object_folders


def policy_of(attempt: Attempt) -> Policy:
    """The worktree, out/ and the private git folder to write; the attempt's own papers and git's objects to read."""
    spec, paths = attempt.spec, attempt.paths
    _, temporary = private_folders(paths)
    private: tuple[Path, ...] = ()
    writable, readable = [attempt.worktree, paths.out], [paths.assignment, paths.guidance, paths.dependencies]
    # Whoever wrote the role chose these files, in a folder that the plan has no say in.
    readable += [Path(word) for word in spec.role.command or () if word.startswith("/") and Path(word).is_file()]
    if spec.workspace is not None:
        order = order_of(attempt)
        writable.append(Path(order.private_git))
        readable += object_folders(Path(order.git_common_dir))
        private = (Path(order.repository), Path(order.git_common_dir), attempt.worktree.parent)
        readable += settings_above(attempt.worktree) if spec.sandbox == "landlock" else []
    ports = local_ports(spec.isolation)
    if spec.gateway and (port := urlsplit(spec.gateway.base_url).port):
        ports.add(port)
    return Policy(
        mode=spec.sandbox,
        writable=tuple(writable),
        readable=tuple(readable),
        hidden=(attempt.layout.root, *(Path(name).expanduser() for name in spec.hidden_files)),
        private=private,
        temporary=temporary,
        ports=tuple(sorted(ports)),
        settings=spec.isolation,
    )


def sandbox_of(attempt: Attempt) -> Sandbox:
    """The sandbox of all the attempt's commands, with the way out that its settings leave. Raises UnknownSandbox."""
    return open_sandbox(policy_of(attempt), attempt.say)
