"""Headers as the API sends them."""

from __future__ import annotations

from datetime import timedelta

from tests.support.hand_clock import HandClock


def limit_headers(measure: str, *, limit: int, remaining: int, seconds: float, clock: HandClock) -> dict[str, str]:
    """One limit, which is full again after so many seconds."""
    start = f"anthropic-ratelimit-{measure}-"
    reset = (clock.wall() + timedelta(seconds=seconds)).isoformat()
    return {f"{start}limit": str(limit), f"{start}remaining": str(remaining), f"{start}reset": reset}
