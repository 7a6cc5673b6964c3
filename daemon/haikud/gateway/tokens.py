"""Attempts' tokens: which attempt calls, and whether it still may.

A token is worth what its file says, and nothing without it: the engine removes the file when the attempt ends. A token
whose runner is known to be dead is refused too, so that it dies with its attempt while no daemon is there to remove
its file. Promises: no name that a caller presents becomes a path before it is known to be a ref; digests are compared
in constant time; no token gets into a message. Fails with Refused (401).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from haikud.contracts.gateway import TOKEN_PREFIX, AttemptToken, Refusal
from haikud.contracts.names import REF
from haikud.gateway.refusals import Refused
from haikud.spool.claims import Life, look_at_identity, read_runner_identity
from haikud.spool.layout import AttemptPaths, SpoolLayout
from haikud.spool.reading import UntrustedFile, read_untrusted

_TOKEN = re.compile(rf"{re.escape(TOKEN_PREFIX)}(?P<ref>{REF})\.(?P<attempt>[1-9][0-9]{{0,8}})\.[0-9a-f]{{64}}")
_FILE = re.compile(rf"(?P<ref>{REF})\.(?P<attempt>[1-9][0-9]{{0,8}})\.json")
_MOST_FILE_BYTES = 65_536
_LOOK_SECONDS = 1.0
"""How long a look at a runner is good for."""

_MOST_REVOKED = 10_000

Name = tuple[str, int]
"""An attempt: its ref and number."""


class Tokens:
    """The tokens of one spool."""

    def __init__(self, layout: SpoolLayout) -> None:
        self._layout = layout
        self._revoked: dict[Name, None] = {}
        self._seen: dict[Name, AttemptToken] = {}
        self._lives: dict[Name, tuple[float, bool]] = {}  # when it was looked, and whether the runner was dead

    def check(self, headers: Mapping[str, str]) -> AttemptToken:
        """Whose call that is. Refused where it is nobody's."""
        presented = _presented(headers)
        if not presented:
            raise _no("no token: it belongs into x-api-key or Authorization: Bearer")
        found = _TOKEN.fullmatch(presented)
        if found is None:
            raise _no("this is no token of haikud")
        name = (found["ref"], int(found["attempt"]))
        token = None if name in self._revoked else self._read(name)
        digest = hashlib.sha256(presented.encode()).hexdigest()
        if token is None or not hmac.compare_digest(digest.encode(), token.digest.encode()):
            raise _no("this token is unknown, or its attempt has ended")
        if self._runner_is_dead(name):
            raise _no("the runner of this token's attempt is dead")
        self._seen[name] = token
        return token

    def revoke(self, name: Name) -> AttemptToken | None:
        """Refuse an attempt's token from now on; the token, where it was ever presented."""
        self._revoked[name] = None
        if len(self._revoked) > _MOST_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        self._lives.pop(name, None)
        return self._seen.pop(name, None)

    def any_live(self) -> bool:
        """Whether some attempt that has a token may still have a runner: one that lives, or one that is starting."""
        names = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._layout.gateway.tokens) as listing:
            for entry in listing:
                found = _FILE.fullmatch(entry.name)
                names += [(found["ref"], int(found["attempt"]))] if found else []
        held = held_inodes() if names else frozenset()
        return any(self._may_live(name, held) for name in names)

    def _may_live(self, name: Name, held: frozenset[tuple[int, int]]) -> bool:
        attempt = self._attempt(name)
        identity = read_runner_identity(attempt.runner)
        if identity is not None and look_at_identity(identity) is not Life.GONE:
            return True
        with suppress(OSError):
            claim = attempt.claim.lstat()
            return (claim.st_dev, claim.st_ino) in held
        return False

    def _runner_is_dead(self, name: Name) -> bool:
        looked, dead = self._lives.get(name, (float("-inf"), False))
        now = time.monotonic()
        if not dead and now - looked >= _LOOK_SECONDS:
            identity = read_runner_identity(self._attempt(name).runner)
            dead = identity is not None and look_at_identity(identity) is Life.GONE
            self._lives[name] = (now, dead)
        return dead

    def _attempt(self, name: Name) -> AttemptPaths:
        return self._layout.task(name[0]).attempt(name[1])

    def _read(self, name: Name) -> AttemptToken | None:
        try:
            token = AttemptToken.model_validate_json(
                read_untrusted(self._layout.gateway.token(*name), _MOST_FILE_BYTES)
            )
        except (UntrustedFile, ValidationError):
            return None
        return token if (token.ref, token.attempt) == name else None


def held_inodes() -> frozenset[tuple[int, int]]:
    """(device, inode) of all files with an flock on them, by /proc/locks: a look that takes no lock itself."""
    held = set()
    with suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            parts = line.split()
            if len(parts) > 5 and parts[1] == "FLOCK":
                major, minor, inode = parts[5].split(":")
                held.add((os.makedev(int(major, 16), int(minor, 16)), int(inode)))
    return frozenset(held)


def _presented(headers: Mapping[str, str]) -> str:
    key = headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _no(message: str) -> Refused:
    return Refused(401, message, Refusal.TOKEN)
