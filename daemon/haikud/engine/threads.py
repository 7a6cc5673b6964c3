"""Threads for what is slow and writes nothing that must last: some stay for the next call, and no exit waits for one.

A call never waits for another: where no thread is idle a new one is started, and NoThread (an OSError) is raised where
the machine refuses that. At most `idle` of them stay; those wait without waking up.
"""

from __future__ import annotations

import _thread
import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar, cast

from haikud.engine.machine.faults import new_thread

T = TypeVar("T")

IDLE = 4

Work = tuple[Callable[[], object], Callable[[object, BaseException | None], None]]
"""What is to be done, and who is told of its end, in the thread that has done it."""


class Threads:
    """See the module's head. Calls are made on an event loop."""

    def __init__(self, idle: int = IDLE) -> None:
        self._most_idle = idle
        self._idle: list[SimpleQueue[Work]] = []  # where each of them waits for work

    async def run(self, action: Callable[[], T]) -> T:
        """Run `action` in a thread; what it raises is raised here."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def deliver(value: object, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(cast("T", value))

        def tell(value: object, error: BaseException | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(deliver, value, error)

        try:
            box = self._idle.pop()
        except IndexError:
            box = SimpleQueue()
            with new_thread():
                # threading.Thread.start() waits until it runs: behind all threads that want the interpreter just then.
                _thread.start_new_thread(self._serve, (box,))
        box.put((action, tell))
        return await done

    def _serve(self, box: SimpleQueue[Work]) -> None:
        stays = True
        while stays:
            action, tell = box.get()
            value, failure = None, None
            try:
                with new_thread():  # that the action starts
                    value = action()
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
                failure = error
            stays = len(self._idle) < self._most_idle
            if stays:  # before it is told: the next call may come at once
                self._idle.append(box)
            tell(value, failure)
            del action, tell, value, failure  # nothing is kept alive by a thread that waits
