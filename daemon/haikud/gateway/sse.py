"""Server-sent events, read from chunks that end anywhere. Pure; what is no JSON object is skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_MOST_LINE_BYTES = 32 * 1024 * 1024  # and of all lines of an event


class EventReader:
    """The events of one stream."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data = bytearray()

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The data of each event that this chunk completes."""
        self._rest += chunk
        if b"\n" not in chunk:
            if len(self._rest) > _MOST_LINE_BYTES:
                self._rest.clear()  # no event of the API: what it counts is lost, and the end is estimated
            return
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            stripped = line.rstrip(b"\r")
            if stripped.startswith(b"data:"):
                self._data += stripped[5:] + b"\n"
                if len(self._data) > _MOST_LINE_BYTES:
                    self._data.clear()
            elif not stripped:
                yield from self._finish()

    def _finish(self) -> Iterator[dict[str, Any]]:
        data, self._data = self._data, bytearray()
        if not data:
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict):
            yield event
