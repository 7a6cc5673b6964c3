"""What was asked and answered: one `Exchange` a request, in memory and, if wanted, as lines of JSON in a file.

Credentials never get in: no header that carries one is kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


@dataclass
class Exchange:
    """One request and what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None  # as sent; None where it was no JSON
    status: int = 0
    request_id: str = ""
    conversation: str = ""
    turn: int = 0  # counted from 1; 0 where the script was not asked
    fault: str = ""  # the kind of the fault that struck
    answer: dict[str, Any] | None = None  # the whole message, or the error object
    usage: dict[str, Any] | None = None
    events_sent: int = 0  # of a stream
    complete: bool = False  # the answer went out to its end, unharmed
    finished: bool = field(default=False, repr=False)


class Journal:
    """All exchanges in the order of their arrival. The server writes, any thread may read and wait."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._exchanges: list[Exchange] = []

    @property
    def exchanges(self) -> list[Exchange]:
        """A copy of the list."""
        with self._changed:
            return list(self._exchanges)

    def open(self, method: str, path: str, headers: dict[str, str]) -> Exchange:
        """Begin an exchange; credentials are left out."""
        kept = {name: value for name, value in headers.items() if name not in SECRET_HEADERS}
        exchange = Exchange(method, path, kept)
        with self._changed:
            self._exchanges.append(exchange)
        return exchange

    def close(self, exchange: Exchange) -> None:
        """It is over; the file gets its line."""
        with self._changed:
            exchange.finished = True
            if self._file is not None:
                line = {name: value for name, value in asdict(exchange).items() if name != "finished"}
                with self._file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._changed.notify_all()

    def wait(self, condition: Callable[[list[Exchange]], bool], seconds: float) -> list[Exchange]:
        """The finished exchanges as soon as `condition` holds for them; TimeoutError otherwise."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self._finished()), seconds):
                raise TimeoutError(f"waited {seconds} s in vain; {len(self._finished())} exchanges have finished")
            return self._finished()

    def _finished(self) -> list[Exchange]:
        return [exchange for exchange in self._exchanges if exchange.finished]
