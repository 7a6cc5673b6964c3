"""What every environment of untrusted commands has in common, for an attempt and for a merge's tests."""

from __future__ import annotations

API_NAMES = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CONFIG_DIR",
        "CLAUDE_CODE_OAUTH_TOKEN",
    }
)
"""Ours: given by a role's `credential` alone, never by the settings."""

_GIT_CONFIG = {"commit.gpgsign": "false", "tag.gpgsign": "false", "gc.auto": "0", "maintenance.auto": "false"}
"""No signing: the agent has no key. No background upkeep: it would be a process left running."""


def git_variables(identity: tuple[str, str]) -> dict[str, str]:
    """Git's own variables: who commits (name, e-mail), and the settings above."""
    name, email = identity
    variables = {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(_GIT_CONFIG)),
    }
    for number, (key, value) in enumerate(_GIT_CONFIG.items()):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables
