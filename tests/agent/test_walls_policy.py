"""What an attempt's order hides from its commands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.haiku_orders import make_spec
from tests.support.repository import make_repository

from haikud.agent.walls import policy_of
from haikud.spool.layout import AttemptPaths, SpoolLayout


def test_files_with_secrets_and_the_spool_are_hidden(tmp_path: Path):
    spec = make_spec(make_repository(tmp_path / "project"), "http://127.0.0.1:9")
    spec = spec.model_copy(update={"workspace": None, "hidden_files": ["/srv/secrets.env", "/srv/key"]})
    layout = SpoolLayout(tmp_path / "spool")
    paths = AttemptPaths(tmp_path / "attempt-1")
    paths.folder.mkdir()
    attempt: Any = SimpleNamespace(spec=spec, paths=paths, layout=layout, worktree=tmp_path / "work")
    assert policy_of(attempt).hidden == (layout.root, Path("/srv/secrets.env"), Path("/srv/key"))
