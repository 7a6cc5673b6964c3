"""The attempt's account at the gateway: what its model calls cost, asked for over the gateway's socket.

The gateway alone counts. The runner mirrors what it says: each entry of the account is charged once, so that log,
events, result and the gateway's journal agree to the last token, whatever broke a call. The gateway writes a call's end
before its caller sees it; only of a call that was broken off the end may come a moment later (`in_flight`).

Fails with GatewayAway where the gateway does not answer (it is started again at once, and knows all that it knew), and
with AccountClosed where the attempt is over for it. No message holds the token.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from haikud.agent.charges import Charges
from haikud.contracts.gateway import AttemptAccount
from haikud.contracts.usage import UsageEntry

MIRROR_SECONDS = 2.0
"""Between two looks at the account of an agent that is at work."""

_MOST_PATH_BYTES = 107  # of sun_path, without the NUL at its end
_ANSWER_SECONDS = 2.0
_HASTY_SECONDS = 0.5  # for an answer, where an agent's output waits to be read meanwhile
_TICK = 0.05


class GatewayAway(Exception):  # noqa: N818 -- the name says what is the case
    """The gateway does not answer now."""


class AccountClosed(GatewayAway):
    """The token is worth nothing any more: the attempt has been ended."""


class SocketPath:
    """A unix socket beneath the spool, by a name short enough to connect to, wherever the spool lies."""

    def __init__(self, root: Path, name: str) -> None:
        self.text = str(root / name)
        self._folder: int | None = None
        if len(os.fsencode(self.text)) > _MOST_PATH_BYTES:
            self._folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.text = f"/proc/self/fd/{self._folder}/{name}"

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


class GatewayAccount:
    """See the module's head. One thread at a time."""

    def __init__(self, root: Path, name: str, token: str, charges: Charges) -> None:
        self.socket = SocketPath(root, name)
        self.charges = charges
        self.told: AttemptAccount | None = None  # its last answer
        self.last_call: datetime | None = None  # the time of the latest call that was charged
        self._token = token
        self._charged = 0
        self._complete = True  # whether every call that was made is in the last answer
        self._next_look = 0.0

    def begin(self) -> None:
        """A call begins, or may have begun."""
        self._complete = False

    def entries(self, seconds: float = 0.0) -> list[UsageEntry]:
        """What was not charged yet. Calls that are under way are waited for, and a gateway that is away, so long.

        Raises GatewayAway.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                told = self._ask(_ANSWER_SECONDS)
            except AccountClosed:
                raise
            except GatewayAway:
                if time.monotonic() >= end:
                    raise
            else:
                self._take(told)
                if not told.in_flight or time.monotonic() >= end:
                    return told.entries
            time.sleep(_TICK)

    def charge(self, entry: UsageEntry) -> None:
        """Charge the next one of `entries`."""
        self._charged += 1
        self.last_call = entry.at if self.last_call is None else max(self.last_call, entry.at)
        self.charges.add(entry)

    def mirror(self) -> None:
        """Charge what is new, now and then; for an agent that calls the gateway itself. Cheap when called often."""
        if time.monotonic() < self._next_look:
            return
        with suppress(GatewayAway):  # else at the next look
            self.told = self._ask(_HASTY_SECONDS)
            self._charge(self.told.entries)
        self.begin()
        self._next_look = time.monotonic() + MIRROR_SECONDS

    def finish(self, seconds: float) -> bool:
        """Charge all that is not charged yet; whether all of it is known. Waits for that at most so long."""
        if not self._complete:
            try:
                self._charge(self.entries(seconds))
            except GatewayAway:
                return False
        return self._complete

    def close(self) -> None:
        """Nothing is asked any more."""
        self.socket.close()

    def _charge(self, entries: list[UsageEntry]) -> None:
        for entry in entries:
            self.charge(entry)

    def _take(self, told: AttemptAccount) -> None:
        self.told = told
        self._complete = not told.in_flight

    def _ask(self, seconds: float) -> AttemptAccount:
        connection = _Connection(self.socket.text, seconds)
        try:
            connection.request("GET", f"/haikud/account?after={self._charged}", headers={"x-api-key": self._token})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == http.client.UNAUTHORIZED:
                raise AccountClosed("haikud's gateway does not know the attempt any more")
            if answer.status != http.client.OK:
                raise GatewayAway(f"haikud's gateway answered {answer.status}")
            return AttemptAccount.model_validate_json(body)
        except (OSError, http.client.HTTPException) as error:
            raise GatewayAway(f"haikud's gateway does not answer: {type(error).__name__}: {error}") from error
        except ValidationError as error:
            raise GatewayAway("haikud's gateway gave no account") from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("gateway", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
