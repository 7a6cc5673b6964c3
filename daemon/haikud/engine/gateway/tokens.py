"""Tokens: what an attempt calls the gateway with, in place of the API's key.

A token is made for one attempt and given to its runner over a pipe; on disk is only what it is good for, under its
digest. It is worth nothing once that file is gone, whatever becomes of its attempt's processes. After a power cut no
attempt is left that could use one, so that these files need not last. Fails with OSError.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import suppress

from haikud.contracts.attempt import ResolvedRole
from haikud.contracts.gateway import TOKEN_PREFIX, AttemptToken
from haikud.contracts.settings import Settings
from haikud.engine.launchers.protocol import attempt_name
from haikud.spool.durable import make_folder, remove_if_there, write_quickly
from haikud.spool.layout import GatewayPaths
from haikud.spool.models import dump_as_is

_SECRET_BYTES = 32
_END = ".json"


def new_token(ref: str, attempt: int) -> tuple[str, str]:
    """A new token, and its digest."""
    token = f"{TOKEN_PREFIX}{attempt_name(ref, attempt)}.{secrets.token_hex(_SECRET_BYTES)}"
    return token, hashlib.sha256(token.encode()).hexdigest()


def models_of(role: ResolvedRole, settings: Settings) -> list[str]:
    """Which models an attempt may call: the role's own.

    Agents that are programs of their own make small calls beside it (titles, summaries) to the cheapest model they
    know, as Claude Code does: to them `haiku` is open too, within the same budget.
    """
    small = [settings.models["haiku"]] if role.command is not None else []
    return list(dict.fromkeys([role.model, *small])) if role.model else small


def write_token(paths: GatewayPaths, token: AttemptToken) -> None:
    """From now on it is good."""
    make_folder(paths.tokens)
    write_quickly(paths.token(token.ref, token.attempt), dump_as_is(token))


def revoke_token(paths: GatewayPaths, ref: str, attempt: int) -> bool:
    """From now on that attempt's is worth nothing; whether it had one."""
    return remove_if_there(paths.token(ref, attempt))


def drop_tokens(paths: GatewayPaths, running: Collection[str], unread: Collection[str]) -> None:
    """Remove the tokens of all attempts that do not run, but of plans that could not be read."""
    for name in list(tokens_there(paths)):
        if name not in running and name.partition(".")[0] not in unread:
            remove_if_there(paths.tokens / f"{name}{_END}")


def tokens_there(paths: GatewayPaths) -> Iterator[str]:
    """The names (REF.N) of all attempts that have one."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(paths.tokens) as listing:
        for found in listing:
            if found.name.endswith(_END) and not found.name.startswith("."):
                yield found.name.removesuffix(_END)
