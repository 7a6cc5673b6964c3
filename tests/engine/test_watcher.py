"""Events are hints: dropped files make the daemon look; our own names do not; replaced folders are watched again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from haikud.contracts.settings import Settings
from haikud.engine.trouble import Trouble
from haikud.engine.watcher import Watcher


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
