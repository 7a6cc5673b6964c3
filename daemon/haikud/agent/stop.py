"""The order to end, as a runner gets it: set by a signal at any moment, waited for without waking up meanwhile.

Only the standard library is imported here: a runner makes one before it imports anything else.
"""

from __future__ import annotations

import math
import os
import select
import threading


class Stop(threading.Event):
    """An event that a signal handler may set at any moment. `descriptor` is readable once it is set.

    threading.Event takes a lock to be set, and the code that the signal has interrupted may be holding it: in its own
    wait, or in the handler of a signal before. That would never end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # never read, and open as long as we live

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Set it, for good."""
        if not self._is_set:
            self._is_set = True
            os.eventfd_write(self.descriptor, 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for so many seconds; whether it is."""
        if not self._is_set:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            poll.poll(None if timeout is None else math.ceil(max(0.0, timeout) * 1000))
        return self._is_set
