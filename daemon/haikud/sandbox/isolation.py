"""The walls around untrusted commands: a `Sandbox` runs them under one policy.

Modes: `none`, which holds nothing back. The mode's name goes into the evidence, so that a reader knows how an attempt
was held. An unknown mode is an error and never a silent `none`: what was to be isolated must not run without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from haikud.sandbox.commands import Ended, run_command
from haikud.sandbox.egress_seam import Egress
from haikud.sandbox.policy import Policy

MODES = ("none",)


class UnknownSandbox(ValueError):  # noqa: N818 -- the name says what is the case
    """The order names an isolation mode that this version does not have."""


class Sandbox:
    """Runs commands under one policy, one at a time. Raises UnknownSandbox."""

    def __init__(self, policy: Policy, egress: Egress | None = None) -> None:
        if policy.mode not in MODES:
            raise UnknownSandbox(f"unknown sandbox mode {policy.mode!r}: this version has {', '.join(MODES)}")
        self.policy = policy
        self._egress = egress

    def environment(self) -> dict[str, str]:
        """Variables that commands need to find their way out: the proxy's address."""
        return {}

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        timeout: float | None,
        grace: float,
        on_output: Callable[[bytes], None],
        stop: Callable[[], bool] | None = None,
    ) -> Ended:
        """As `run_command`, within the walls. Raises CannotStart and TreeStillAlive."""
        return run_command(argv, cwd=cwd, env=env, timeout=timeout, grace=grace, on_output=on_output, stop=stop)

    def close(self) -> None:
        """Let go of what the policy needed."""
        if self._egress is not None:
            self._egress.close()


NO_SANDBOX = Sandbox(Policy())
"""Nothing is held back."""
