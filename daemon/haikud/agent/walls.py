"""What of the machine an attempt's untrusted commands get to see and reach: its sandbox, and that one's policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from haikud.agent.attempt import Attempt
from haikud.agent.environment import private_folders
from haikud.agent.worktree import order_of
from haikud.sandbox.egress.gate import PROXY_NAMES, open_egress
from haikud.sandbox.egress.hosts import loopback_ports
from haikud.sandbox.egress_seam import PROXY_PORT
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy
from haikud.workspace.borrowed import object_folders


def policy_of(attempt: Attempt) -> Policy:
    """The worktree, out/ and the private git folder to write; the attempt's own papers and git's objects to read."""
    spec, paths = attempt.spec, attempt.paths
    _, temporary = private_folders(paths)
    writable, readable = [attempt.worktree, paths.out], [paths.assignment, paths.guidance, paths.dependencies]
    # Whoever wrote the role chose these files, in a folder that the plan has no say in.
    readable += [Path(word) for word in spec.role.command or () if word.startswith("/") and Path(word).is_file()]
    if spec.workspace is not None:
        order = order_of(attempt)
        writable.append(Path(order.private_git))
        readable += object_folders(Path(order.git_common_dir))
    ports = set(loopback_ports(spec.isolation.hosts)) - {PROXY_PORT} if spec.isolation.network == "listed" else set()
    if spec.gateway and (port := urlsplit(spec.gateway.base_url).port):
        ports.add(port)
    return Policy(
        mode=spec.sandbox,
        writable=tuple(writable),
        readable=tuple(readable),
        hidden=(attempt.layout.root, *(Path(name).expanduser() for name in spec.hidden_files)),
        temporary=temporary,
        ports=tuple(sorted(ports)),
        settings=spec.isolation,
    )


def sandbox_of(attempt: Attempt) -> Sandbox:
    """The sandbox of all the attempt's commands, with the way out that its settings leave. Raises UnknownSandbox."""
    policy = policy_of(attempt)
    if not _has_own_network(policy):
        return Sandbox(policy)
    return Sandbox(policy, open_egress(attempt.say)(policy))


def reach_out(environment: Mapping[str, str], sandbox: Sandbox) -> dict[str, str]:
    """An environment with which programs find their way out of the sandbox. Raises OSError.

    A proxy that the settings pass on is out of reach in there, and its address may hold a password: it is left out.
    """
    if not _has_own_network(sandbox.policy):
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in PROXY_NAMES} | sandbox.environment()


def _has_own_network(policy: Policy) -> bool:
    return policy.mode != "none" and policy.settings.network != "open"
