"""A runner's `stop` may be set by a signal, whatever the signal interrupts."""

from __future__ import annotations

import signal
import threading
import time

from haikud.agent.__main__ import Stop


def test_it_is_set_by_a_flood_of_signals_in_the_midst_of_its_own_calls():
    stop = Stop()
    before = signal.signal(signal.SIGALRM, lambda *_: stop.set())
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.0002)
    try:
        assert stop.wait(10.0)
        for _ in range(20_000):
            stop.set()
            assert stop.is_set()
            assert stop.wait(0.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_it_waits_no_longer_than_it_was_told():
    stop = Stop()
    began = time.monotonic()
    assert not stop.wait(0.1)
    assert time.monotonic() - began >= 0.1
    threading.Timer(0.05, stop.set).start()
    assert stop.wait()
