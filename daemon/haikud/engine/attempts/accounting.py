"""The end of an attempt's account with the gateway: its token revoked, its calls ended, what they cost kept on disk.

An attempt that had a token is settled by the journal alone (`attempt-N/usage.json`), whatever its runner says. Tried
again as long as the environment refuses; every step may be repeated.
"""

from __future__ import annotations

import asyncio

from haikud.contracts.usage_journal import AttemptUsage
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine
from haikud.engine.gateway.accounts import keep_usage, usage_by_journal, usage_of
from haikud.engine.gateway.tokens import revoke_token
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.machine.trouble import RETRY_SECONDS
from haikud.spool.layout import AttemptPaths


async def revoke_token_of(engine: Engine, entry: OpenTask) -> None:
    """From now on nobody can call with the token of the task's current attempt, if it had one."""
    ref, attempt = entry.ref, entry.decision.attempt
    while attempt_name(ref, attempt) in engine.gateway.tokens:
        with engine.trouble.guard(f"revoking the token of {ref}"):
            await engine.write(revoke_token, engine.layout.gateway, ref, attempt)
            return
        await asyncio.sleep(RETRY_SECONDS)


async def close_account_of(engine: Engine, entry: OpenTask, paths: AttemptPaths) -> AttemptUsage | None:
    """What the task's current attempt has used, durable in its usage.json; None where it never had a token."""
    ref, attempt, since = entry.ref, entry.decision.attempt, entry.decision.at
    name = attempt_name(ref, attempt)
    while name in engine.gateway.tokens:
        with engine.trouble.guard(f"closing the account of {ref}"):
            account = await engine.gateway.account_of(ref, attempt, since)
            if account is not None:
                used = usage_of(account, ref, attempt)
            else:
                used = await engine.aside(usage_by_journal, engine.layout.gateway, ref, attempt, since)
            await engine.write(keep_usage, paths, used)
            return used
        await asyncio.sleep(RETRY_SECONDS)
    return None
