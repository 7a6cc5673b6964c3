"""Threads that stay: calls beside one another never wait, a few threads are kept, a refusal is said."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
from tests.support.waiting import wait_until

from haikud.engine.machine.faults import NoThread
from haikud.engine.threads import IDLE, Threads


def test_one_call_after_the_other_uses_one_thread():
    async def work() -> set[int]:
        threads = Threads()
        return {await threads.run(threading.get_ident) for _ in range(50)}

    assert len(asyncio.run(work())) == 1


def test_calls_beside_one_another_do_not_wait_and_only_some_threads_stay():
    async def work() -> None:
        threads, all_here = Threads(), threading.Barrier(3 * IDLE)
        before = threading.active_count()
        await asyncio.gather(*(threads.run(lambda: all_here.wait(20)) for _ in range(3 * IDLE)))
        wait_until(lambda: threading.active_count() <= before + IDLE, seconds=20)

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
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> int:
        threads = Threads()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(NoThread):
                await threads.run(int)
        await threads.run(int)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        return await threads.run(lambda: 7)

    assert asyncio.run(work()) == 7
