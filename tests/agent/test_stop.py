"""A runner's `stop` may be set by a signal, whatever the signal interrupts."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from haikud.agent.haiku.client import CallStopped, MessagesClient
from haikud.agent.haiku.incoming import Incoming
from haikud.agent.stop import Stop
from haikud.contracts.settings import ApiSettings


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


def test_a_model_call_ends_at_once_when_it_is_set_though_it_looks_up_seldom(tmp_path):
    stop, client = Stop(), MessagesClient(ApiSettings(), "token", str(tmp_path / "silent"))
    with socket.socket(socket.AF_UNIX) as silent, client:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        threading.Timer(0.1, stop.set).start()
        began = time.monotonic()
        with pytest.raises(CallStopped):
            client.receive({"model": "m", "max_tokens": 8, "messages": []}, Incoming(), SeldomLooking(stop))
        assert time.monotonic() - began < 5.0


class SeldomLooking:
    """Looks up each minute."""

    look_seconds = 60.0

    def __init__(self, stop: Stop) -> None:
        self.descriptor = stop.descriptor
        self.is_set = stop.is_set
