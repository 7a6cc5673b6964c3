"""What an attempt has used, by the journal: `attempt-N/usage.json`, durable before the attempt is settled.

The gateway's word holds: it ends the attempt's calls first, so that nothing is under way any more. Where none answers,
the journal is read as it lies there; a call without an end counts then as the most that it can have cost, which is
what the next gateway will say of it. Asking again gives the same answer: nothing is lost and nothing counted twice
whenever the daemon dies in between. Reads and writes files; for threads. Fails with OSError.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

from haikud.contracts.attempt import Spec
from haikud.contracts.gateway import AttemptAccount
from haikud.contracts.usage import add_dollars
from haikud.contracts.usage_journal import AttemptUsage
from haikud.spool.durable import write_durably
from haikud.spool.layout import AttemptPaths, GatewayPaths
from haikud.spool.models import UnreadableFile, dump_as_is, read_model
from haikud.spool.usage_journal import read_charges, read_day, used_by_attempt

SLACK = timedelta(hours=1)
"""By how much the clock may have been set back since an attempt was ordered."""


def had_token(paths: AttemptPaths, gateway: GatewayPaths, ref: str, attempt: int) -> bool:
    """Whether an attempt's calls are in the journal: what was made for it says so, or its order."""
    if gateway.token(ref, attempt).exists() or paths.usage.exists():
        return True
    try:
        spec = read_model(paths.spec, Spec)
    except UnreadableFile:
        return False
    return spec is not None and spec.gateway is not None


def usage_of(account: AttemptAccount, ref: str, attempt: int) -> AttemptUsage:
    """The gateway's answer, as it is kept."""
    return AttemptUsage(
        ref=ref,
        attempt=attempt,
        total=account.total,
        by_model=account.by_model,
        estimated_usd=min(account.estimated_usd, account.total.cost_usd),
    )


def usage_by_journal(gateway: GatewayPaths, ref: str, attempt: int, since: datetime) -> AttemptUsage:
    """The journal's, without a gateway. No call of the attempt is older than `since`."""
    mark = json.dumps(ref).encode()
    return used_by_attempt(read_charges(gateway, (since - SLACK).date(), only=mark), ref, attempt)


def keep_usage(paths: AttemptPaths, usage: AttemptUsage) -> None:
    """Write usage.json, durably; one that an earlier try has left is replaced."""
    write_durably(paths.usage, dump_as_is(usage))


def spent_on(gateway: GatewayPaths, day: date) -> float:
    """US dollars of the calls that began on that day, by the journal; one without an end counts as the most."""
    return add_dollars(*(charge.entry.cost_usd for charge in read_day(gateway, day)))
