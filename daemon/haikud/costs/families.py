"""What people call a model: Haiku, Sonnet, Opus. Pure."""

from __future__ import annotations

FAMILIES = ("haiku", "sonnet", "opus")


def family_of(model: str | None) -> str:
    """`Haiku` for claude-haiku-5-5; the id itself where it is of none of these, "" where there is none."""
    name = model or ""
    return next((family.capitalize() for family in FAMILIES if family in name), name)
