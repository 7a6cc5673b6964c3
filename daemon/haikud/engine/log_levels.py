"""How grave a line of the daemon's log is. A line that is plain text tells what went on and needs nobody's eye."""

from __future__ import annotations


class Warn(str):
    """Somebody should read this: a fault of one thing, a request set aside, a task that failed."""

    __slots__ = ()


class Alarm(str):
    """Somebody must act: the daemon cannot serve the spool, or takes no work."""

    __slots__ = ()
