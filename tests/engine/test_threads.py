"""Threads that stay: calls beside one another never wait, a few threads are kept, a refusal is said."""

from __future__ import annotations

import _thread
import asyncio
import gc
import os
import threading
import weakref
from typing import Any

import pytest
from tests.support.waiting import wait_until

from haikud.engine.machine.faults import NoThread
from haikud.engine.threads import IDLE, Threads


def _count() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only


def test_one_call_after_the_other_uses_one_thread():
    async def work() -> set[int]:
        threads = Threads()
        return {await threads.run(threading.get_ident) for _ in range(50)}

    assert len(asyncio.run(work())) == 1


def test_calls_beside_one_another_do_not_wait_and_only_some_threads_stay():
    async def work() -> None:
        threads, all_here = Threads(), threading.Barrier(3 * IDLE)
        before = _count()
        await asyncio.gather(*(threads.run(lambda: all_here.wait(20)) for _ in range(3 * IDLE)))
        wait_until(lambda: _count() <= before + IDLE, seconds=20)

    asyncio.run(work())


def test_what_is_raised_comes_through_and_nothing_is_kept():
    class Kept(Exception):  # noqa: N818
        pass

    def fail() -> None:
        raise Kept

    async def work() -> weakref.ref[Kept]:
        threads = Threads()
        with pytest.raises(Kept) as caught:
            await threads.run(fail)
        assert await threads.run(lambda: 7) == 7
        return weakref.ref(caught.value)

    gone = asyncio.run(work())
    gc.collect()
    assert gone() is None


def test_a_thread_that_the_machine_refuses_is_said_and_an_idle_one_still_serves(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    async def work() -> int:
        threads = Threads()
        with monkeypatch.context() as patch:
            patch.setattr(_thread, "start_new_thread", refuse)
            with pytest.raises(NoThread):
                await threads.run(int)
        await threads.run(int)
        monkeypatch.setattr(_thread, "start_new_thread", refuse)
        return await threads.run(lambda: 7)

    assert asyncio.run(work()) == 7


def test_the_loop_does_not_wait_until_a_new_thread_has_the_interpreter(monkeypatch: pytest.MonkeyPatch):
    """Behind hundreds of threads that want it that takes seconds."""
    start, loop_went_on, in_time = _thread.start_new_thread, threading.Event(), list[bool]()

    def later(*call: Any) -> int:
        return start(lambda: (in_time.append(loop_went_on.wait(5)), start(*call)), ())

    async def work() -> int:
        calling = asyncio.create_task(Threads().run(lambda: 7))
        await asyncio.sleep(0)  # it is called here, and would be waited for
        loop_went_on.set()
        return await calling

    monkeypatch.setattr(_thread, "start_new_thread", later)
    monkeypatch.setattr(threading, "_start_new_thread", later)  # what threading.Thread uses
    assert asyncio.run(work()) == 7
    assert in_time == [True]
