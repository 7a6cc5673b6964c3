"""For all tests: signals as a terminal would have them."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take SIGINT back where a background shell has had it ignored: what is ignored stays so in every child."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
