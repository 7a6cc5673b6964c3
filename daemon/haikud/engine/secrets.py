"""What the daemon knows and must not show: the API key, and where the API is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secrets:
    """Its repr hides the key."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
