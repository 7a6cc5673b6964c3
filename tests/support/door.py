"""An engine's way in, without a daemon round it: requests are dropped, taken, admitted, and perhaps started."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.engines import made_engine

from haikud.contracts.settings import Settings
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.drops.folders import WatchedFolder, open_drop_folder
from haikud.engine.drops.intake import Intake
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout

ROLE = "---\nname: noop\ndescription: A role of the tests.\ncommand: ['true']\nworkspace: none\n---\nNothing.\n"


class Door:
    """An engine's way in, without a daemon round it."""

    def __init__(self, tmp_path: Path) -> None:
        roles = tmp_path / "roles"
        roles.mkdir()
        (roles / "noop.md").write_text(ROLE, encoding="utf-8")
        self.layout = SpoolLayout(tmp_path / "spool")
        open_spool(self.layout.root)
        self.said: list[str] = []
        self.engine = made_engine(self.layout, lambda line: self.said.append(str(line)))
        self.engine.settings = Settings(roles_dir=str(roles), settle_seconds=0.0)
        self.now = 1_000_000_000
        self.open()

    def open(self) -> None:
        """As a daemon does that begins."""
        drops = open_drop_folder(self.layout.incoming, self.engine.settings)
        self.intake = Intake(self.engine, drops, RoleLookup(self.engine.settings))
        self.folder = WatchedFolder(drops, self.intake.pending, set, sync=False)

    def drop(self, name: str, **fields: Any) -> None:
        """One second younger than the one before."""
        path = self.layout.incoming / name
        path.write_text(json.dumps({"title": f"Do {name}", "role": "noop", **fields}), encoding="utf-8")
        self.now += 1
        os.utime(path, (self.now, self.now))

    async def take_in(self, *, at_once: bool = False) -> None:
        await self.folder.scan(self.engine, self.intake.in_the_hop_of_a_scan() if at_once else None)
        await self.intake.work()

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.layout.root / folder).iterdir() if path.name != ".pruned")

    def answer(self, name: str) -> dict[str, Any]:
        answer = json.loads((self.layout.responses / name).read_bytes())
        assert isinstance(answer, dict)
        return answer


@contextmanager
def refused_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plan has its name, which cannot be made durable, and not be taken back either."""
    real, rename = os.fsync, Path.rename

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "plans":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    def keep(source: Path, target: Path) -> Path:
        if target.name == ".x.new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source, target)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        broken.setattr(Path, "rename", keep)
        yield
