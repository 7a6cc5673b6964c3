"""Whether a failed call is made again, and when. Pure: no clock, no network.

The numbers are the guide's (three attempts with waits of 2 and 4 s) and the settings': api.tries, api.retry_waits,
api.quota_tries, api.quota_wait_seconds, api.quota_pause_seconds. Waits carry no jitter: one agent makes one call at a
time, and the queue as a whole is slowed down by its own pause.
"""

from __future__ import annotations

from dataclasses import dataclass

from haikud.agent.haiku.faults import Fault, FaultKind
from haikud.contracts.settings import ApiSettings

_FIRST_QUOTA_WAIT = 2.0
"""Seconds, doubled each time, where neither the API nor the settings say how long."""


@dataclass(frozen=True)
class TryAgain:
    """After so many seconds; `number` tries of `most` have failed."""

    seconds: float
    number: int
    most: int


@dataclass(frozen=True)
class GiveUp:
    """The attempt fails; `tries` says how many calls were made."""

    tries: int


@dataclass(frozen=True)
class StopForQuota:
    """The attempt ends and the queue waits so many seconds."""

    seconds: float


Decision = TryAgain | GiveUp | StopForQuota


def decide_retry(fault: Fault, failed: int, api: ApiSettings) -> Decision:
    """What to do after `failed` tries of one call (this one included) that met faults of this one's kind."""
    if fault.kind is FaultKind.PERMANENT:
        return GiveUp(failed)
    if fault.kind is FaultKind.QUOTA:
        return _decide_quota(fault, failed, api)
    if failed >= api.tries:
        overloaded = fault.status == 529
        return StopForQuota(_pause(fault, api)) if overloaded else GiveUp(failed)
    wait = api.retry_waits[min(failed, len(api.retry_waits)) - 1] if api.retry_waits else 0.0
    asked = min(fault.retry_after or 0.0, api.quota_wait_seconds)
    return TryAgain(max(wait, asked), failed, api.tries)


def _decide_quota(fault: Fault, failed: int, api: ApiSettings) -> Decision:
    if failed >= api.quota_tries:
        return StopForQuota(_pause(fault, api))
    if fault.retry_after is not None:
        too_long = fault.retry_after > api.quota_wait_seconds
        return StopForQuota(fault.retry_after) if too_long else TryAgain(fault.retry_after, failed, api.quota_tries)
    first = api.retry_waits[0] if api.retry_waits else _FIRST_QUOTA_WAIT
    return TryAgain(min(first * 2 ** (failed - 1), api.quota_wait_seconds), failed, api.quota_tries)


def _pause(fault: Fault, api: ApiSettings) -> float:
    return fault.retry_after if fault.retry_after is not None else api.quota_pause_seconds
