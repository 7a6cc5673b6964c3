"""What the built-in agent is told of the walls around its commands, so that it does not run against them again."""

from __future__ import annotations

from haikud.sandbox.policy import Policy

_ALWAYS = (
    "Commands run in a sandbox: files outside the worktree are out of sight or read-only, HOME begins empty, there is"
    " no sudo and no Docker."
)
_NETWORKS = {
    "listed": "Network: only listed hosts, through the proxy that the environment names; any other is refused (403).",
    "off": "There is no network.",
}
_LANDLOCK = (
    "Here a command cannot listen on a port, use unix sockets, open a pseudo-terminal or use /tmp (use $TMPDIR)."
)
_ADVICE = "What the sandbox refuses stays refused: do without it, or escalate and name what is missing."


def walls_words(policy: Policy) -> list[str]:
    """A line for the first message; none where nothing holds commands back."""
    if policy.mode == "none":
        return []
    network = _NETWORKS.get(policy.settings.network)
    words = [_ALWAYS, network, _LANDLOCK if policy.mode == "landlock" else None, _ADVICE]
    return [" ".join(word for word in words if word)]
