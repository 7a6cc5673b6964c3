"""Events are hints: dropped files make the daemon look; our own names do not; replaced folders are watched again."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from inotify_simple import INotify
from tests.support.inotify import inotify_in_use
from watchdog.observers.api import BaseObserver

from haikud.contracts.live import FaultKind
from haikud.contracts.settings import Settings
from haikud.engine.drops.watcher import Watcher
from haikud.engine.machine.trouble import Trouble


@pytest.fixture(autouse=True)
def with_inotify():
    with inotify_in_use():
        yield


class Looks:
    def __init__(self, tmp_path: Path, **settings: object) -> None:
        self.folder = tmp_path / "incoming"
        self.folder.mkdir()
        self.looks = 0
        self.said: list[str] = []
        made = Settings.model_validate({"poll_seconds": 0.05, **settings})
        self.trouble = Trouble(self.said.append, time.monotonic)
        loop = asyncio.get_running_loop()
        self.watcher = Watcher([self.folder], loop, self.look, made, self.trouble, self.said.append)
        self.watcher.start()

    def look(self, folder: Path) -> None:
        assert folder == self.folder
        self.looks += 1

    async def after(self, action: Callable[[], object]) -> None:
        before = self.looks
        action()
        end = time.monotonic() + 10
        while self.looks == before:
            assert time.monotonic() < end, "no look"
            await asyncio.sleep(0.01)


@pytest.fixture(params=["inotify", "polling"])
async def looks(tmp_path: Path, request: pytest.FixtureRequest):
    made = Looks(tmp_path, watcher=request.param)
    yield made
    made.watcher.stop()


async def test_every_way_of_dropping_a_file_is_seen(looks: Looks):
    folder = looks.folder
    outside = folder.parent / "outside"
    await looks.after(lambda: (folder / "written.json").write_text("{}"))
    outside.write_text("{}")
    await looks.after(lambda: os.link(outside, folder / "linked.json"))
    await looks.after(lambda: outside.rename(folder / "moved-in.json"))
    (folder / ".hidden").write_text("{}")
    await looks.after(lambda: (folder / ".hidden").rename(folder / "renamed.json"))
    await looks.after((folder / "pipe.json").mkdir)


async def test_our_own_names_wake_nobody(tmp_path: Path):
    looks = Looks(tmp_path, watcher="inotify")
    await looks.after(lambda: (looks.folder / "a.json").write_text("{}"))
    await asyncio.sleep(0.05)
    before = looks.looks
    (looks.folder / "a.json").rename(looks.folder / ".taken-a.json")
    (looks.folder / ".taken-a.json").read_text()
    (looks.folder / ".taken-a.json").unlink()
    await looks.after((looks.folder / "b.json").touch)
    await asyncio.sleep(0.05)
    assert looks.looks - before <= 2  # created and closed, of b.json
    looks.watcher.stop()


async def test_a_replaced_folder_is_watched_again(looks: Looks):
    old = looks.folder.rename(looks.folder.with_name("old"))
    looks.folder.mkdir()
    looks.watcher.check()
    assert looks.looks == 1
    assert "replaced" in looks.said[-1]
    await looks.after(lambda: (looks.folder / "x.json").write_text("{}"))
    old.rmdir()


async def test_a_removed_folder_is_watched_again_when_it_is_back(looks: Looks):
    looks.folder.rmdir()
    looks.watcher.check()
    looks.folder.mkdir()
    looks.watcher.check()
    await looks.after(lambda: (looks.folder / "x.json").write_text("{}"))


async def test_events_after_the_loop_is_closed_harm_nothing(tmp_path: Path):
    looks = Looks(tmp_path)
    looks.watcher.stop()
    (looks.folder / "x.json").write_text("{}")
    assert looks.looks == 0


async def end_what_watches(looks: Looks) -> None:
    """Inotify ends with a read that fails; a poller is a thread."""
    if looks.watcher.kind == "inotify":

        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(INotify, "read", fail)
            (looks.folder / ".wakes").touch()
            await asyncio.sleep(0.05)
    for thread in threading.enumerate():
        if isinstance(thread, BaseObserver):
            thread.stop()
            thread.join()


async def test_what_died_is_started_again_and_everything_is_looked_at(looks: Looks):
    await end_what_watches(looks)
    before = looks.looks
    looks.watcher.check()
    assert looks.looks > before
    assert "started again" in looks.said[-1]
    await looks.after(lambda: (looks.folder / "x.json").write_text("{}"))


@pytest.fixture
def short_queue():
    """Inotify instances that are made now have room for a single event."""
    length = Path("/proc/sys/fs/inotify/max_queued_events")
    before = length.read_text(encoding="ascii")
    try:
        length.write_text("1", encoding="ascii")
    except OSError:
        pytest.skip("inotify's queue cannot be made short here")
    yield
    length.write_text(before, encoding="ascii")


async def test_an_overflow_is_mentioned_and_everything_is_looked_at(short_queue: None, tmp_path: Path):
    looks = Looks(tmp_path, watcher="inotify")
    for number in range(300):
        (looks.folder / f".{number}").touch()
    end = time.monotonic() + 10
    while not looks.trouble.faults():
        assert time.monotonic() < end, "no overflow"
        await asyncio.sleep(0.01)
    assert [one.kind for one in looks.trouble.faults()] == [FaultKind.EVENTS_LOST]
    assert looks.looks > 0
    looks.watcher.stop()


def no_instance(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "no inotify instance is left")


async def test_where_neither_inotify_nor_a_thread_can_be_had_the_timer_alone_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as refused:
        refused.setattr(INotify, "__init__", no_instance)
        refused.setattr(threading.Thread, "start", refuse)
        looks = Looks(tmp_path, watcher="inotify")
        assert looks.watcher.kind == "timer"
        looks.watcher.check()
        assert [one.kind for one in looks.trouble.faults()] == [FaultKind.WATCH_LIMIT]
    looks.watcher.check()
    assert looks.watcher.kind == "inotify"
    assert not looks.trouble.faults()
    await looks.after(lambda: (looks.folder / "x.json").write_text("{}"))
    looks.watcher.stop()


async def test_what_could_not_be_had_is_no_fault_any_more_where_it_could_when_polling_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as refused:
        refused.setattr(INotify, "__init__", no_instance)
        looks = Looks(tmp_path, watcher="inotify")
    assert looks.watcher.kind == "polling"
    assert [one.kind for one in looks.trouble.faults()] == [FaultKind.WATCH_LIMIT]
    await end_what_watches(looks)
    looks.watcher.check()
    assert looks.watcher.kind == "inotify"
    assert not looks.trouble.faults()
    looks.watcher.stop()
