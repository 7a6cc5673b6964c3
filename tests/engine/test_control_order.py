"""In which order controls are finished: a crash between two must not bring back what a later one undid."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from haikud.engine.drops.controls import Controls, _Ordered
from haikud.engine.engine import Engine
from haikud.engine.machine.trouble import Trouble
from haikud.spool.drops import DropFolder, Taken


def taken(folder: Path, token: str, name: str) -> Taken:
    path = folder / f".taken-{token}-{name}"
    path.touch()
    return Taken(token, name, path, b"", None, 0.0)


async def test_a_resume_is_finished_after_the_pause_that_it_undid(tmp_path: Path, monkeypatch: Any):
    finished: list[str] = []

    async def write(action: Callable[..., object], *args: Any) -> object:
        finished.append(args[0].name)
        return action(*args)

    async def undo(self: Controls, verb: str, name: str, token: str) -> set[str]:
        return set()  # nobody has still to pause

    drops = DropFolder(tmp_path, max_bytes=10, settle_seconds=0.0, empty_is_fine=True)
    trouble = Trouble(lambda _: None, lambda: 0.0)
    engine = SimpleNamespace(write=write, board=SimpleNamespace(tasks={}), trouble=trouble)
    controls = Controls(cast("Engine", engine), drops, lambda: False)
    controls._ordered["a" * 16] = _Ordered(taken(tmp_path, "a" * 16, "p.pause"), {"p"})
    monkeypatch.setattr(Controls, "_apply", undo)
    controls.pending.append(taken(tmp_path, "b" * 16, "p.resume"))
    await controls.work()
    assert finished == ["p.pause", "p.resume"]


async def test_what_comes_after_a_control_that_failed_waits_with_it(tmp_path: Path, monkeypatch: Any):
    applied: list[str] = []

    async def write(action: Callable[..., object], *args: Any) -> object:
        return action(*args)

    async def apply(self: Controls, verb: str, name: str, token: str) -> set[str]:
        applied.append(f"{name}.{verb}")
        if applied == ["p.pause"]:
            raise OSError(errno.EIO, "once")
        return set()

    now = [0.0]
    trouble = Trouble(lambda _: None, lambda: now[0])
    engine = SimpleNamespace(write=write, board=SimpleNamespace(tasks={}), trouble=trouble)
    drops = DropFolder(tmp_path, max_bytes=10, settle_seconds=0.0, empty_is_fine=True)
    controls = Controls(cast("Engine", engine), drops, lambda: False)
    monkeypatch.setattr(Controls, "_apply", apply)
    for number, name in enumerate(("p.pause", "p.resume", "q.pause")):
        controls.pending.append(taken(tmp_path, f"{number:016x}", name))
    await controls.work()
    now[0] = 60.0
    await controls.work()
    assert applied == ["p.pause", "q.pause", "p.pause", "p.resume"]
    assert not controls.pending
