"""Whether and when a call is made again: a table, without clock or network."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from haikud.agent.haiku.faults import Fault, FaultKind, retry_after_of
from haikud.agent.haiku.retries import GiveUp, StopForQuota, TryAgain, decide_retry
from haikud.contracts.settings import ApiSettings

API = ApiSettings.model_validate({})
NETWORK = Fault(FaultKind.NETWORK, "API_500", "broken", status=500)
QUOTA = Fault(FaultKind.QUOTA, "API_429", "too many", status=429)
OVERLOAD = Fault(FaultKind.NETWORK, "API_529", "overloaded", status=529)


def quota(after: float) -> Fault:
    return Fault(FaultKind.QUOTA, "API_429", "too many", status=429, retry_after=after)


@pytest.mark.parametrize(
    ("fault", "failed", "decision"),
    [
        (NETWORK, 1, TryAgain(2.0, 1, 3)),
        (NETWORK, 2, TryAgain(4.0, 2, 3)),
        (NETWORK, 3, GiveUp(3)),
        (OVERLOAD, 2, TryAgain(4.0, 2, 3)),
        (OVERLOAD, 3, StopForQuota(300.0)),
        (Fault(FaultKind.NETWORK, "API_503", "", retry_after=30.0), 1, TryAgain(30.0, 1, 3)),
        (Fault(FaultKind.NETWORK, "API_503", "", retry_after=9999.0), 1, TryAgain(60.0, 1, 3)),
        (QUOTA, 1, TryAgain(2.0, 1, 4)),
        (QUOTA, 2, TryAgain(4.0, 2, 4)),
        (QUOTA, 3, TryAgain(8.0, 3, 4)),
        (QUOTA, 4, StopForQuota(300.0)),
        (quota(60.0), 1, TryAgain(60.0, 1, 4)),
        (quota(60.1), 1, StopForQuota(60.1)),
        (quota(1.0), 4, StopForQuota(1.0)),
        (Fault(FaultKind.PERMANENT, "API_400", "no"), 1, GiveUp(1)),
    ],
)
def test_the_table(fault, failed, decision):
    assert decide_retry(fault, failed, API) == decision


def test_settings_without_waits_try_again_at_once():
    api = ApiSettings.model_validate({"retry_waits": [], "tries": 5})
    assert decide_retry(NETWORK, 4, api) == TryAgain(0.0, 4, 5)


def test_the_last_wait_serves_all_further_tries():
    assert decide_retry(NETWORK, 5, ApiSettings.model_validate({"tries": 9})) == TryAgain(4.0, 5, 9)


NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Mon, 23 Nov 2026 10:01:30 GMT"}, 90.0),
        ({"retry-after": "Mon, 23 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after_of(headers, NOW) == seconds
