"""A sandbox with the way out that its settings leave, and the environment that leads there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.egress.gate import PROXY_NAMES, open_egress
from haikud.sandbox.egress.hosts import loopback_ports
from haikud.sandbox.egress_seam import PROXY_PORT
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy


def open_sandbox(policy: Policy, say: Callable[[str], None]) -> Sandbox:
    """A policy's sandbox. `say`: a line for the log, of hosts that were refused. Raises UnknownSandbox."""
    return Sandbox(policy, open_egress(say)(policy) if _holds_network(policy) else None)


def local_ports(settings: SandboxSettings) -> set[int]:
    """Ports of this machine's loopback that the settings open, for a policy's `ports`."""
    return set(loopback_ports(settings.hosts)) - {PROXY_PORT} if settings.network == "listed" else set()


def reach_out(environment: Mapping[str, str], sandbox: Sandbox) -> dict[str, str]:
    """An environment with which programs find their way out of the sandbox. Raises OSError.

    Another proxy is out of reach in there, and its address may hold a password: it is left out.
    """
    if not _holds_network(sandbox.policy):
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in PROXY_NAMES} | sandbox.environment()


def _holds_network(policy: Policy) -> bool:
    return policy.mode != "none" and policy.settings.network != "open"
