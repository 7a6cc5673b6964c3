"""In which order controls are finished: a crash between two must not bring back what a later one undid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from haikud.engine.controls import Controls, _Ordered
from haikud.engine.engine import Engine
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
    engine = SimpleNamespace(write=write, board=SimpleNamespace(tasks={}))
    controls = Controls(cast("Engine", engine), drops, lambda: False)
    controls._ordered["a" * 16] = _Ordered(taken(tmp_path, "a" * 16, "p.pause"), {"p"})
    monkeypatch.setattr(Controls, "_apply", undo)
    controls.pending.append(taken(tmp_path, "b" * 16, "p.resume"))
    await controls.work()
    assert finished == ["p.pause", "p.resume"]
