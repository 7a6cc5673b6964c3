"""What the daemon knows and must not show: the API key and GitHub's tokens, and where the API is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secrets:
    """Its repr hides them."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    github_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # by the names of their variables
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets.names, by name: for a push alone
    masked: Mapping[str, str] = field(default_factory=dict, repr=False)  # secret -> what to call it in its place
