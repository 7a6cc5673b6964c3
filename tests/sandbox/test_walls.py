"""The walls of modes bwrap and landlock, with real commands; mode none shows that each attempt is a real one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.bwrap import find_bwrap
from haikud.sandbox.commands import Ended
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.landlock import landlock_abi
from haikud.sandbox.policy import Policy

WALLS = [
    pytest.param("bwrap", marks=pytest.mark.skipif(find_bwrap() is None, reason="bubblewrap is not installed")),
    pytest.param("landlock", marks=pytest.mark.skipif(landlock_abi() < 1, reason="this kernel has no Landlock")),
]
ALL = [*WALLS, "none"]

Run = Callable[..., tuple[Ended, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script in a worktree of its own, beside a secret that no policy names."""
    worktree, out = tmp_path / "work" / "tree", tmp_path / "spool" / "out"
    (out / "tmp").mkdir(parents=True)
    worktree.mkdir(parents=True)
    (tmp_path / "spool" / "secret").write_text("the secret\n")

    def run(mode: str, script: str, *, settings: dict[str, Any] | None = None, **more: Any) -> tuple[Ended, str]:
        chosen = SandboxSettings.model_validate(settings or {})
        policy = Policy(mode=mode, writable=(worktree, out), temporary=out / "tmp", settings=chosen)
        output: list[bytes] = []
        env = {"PATH": os.environ["PATH"], "HAIKUD_OUT": str(out), "TMPDIR": str(out / "tmp")}
        options: dict[str, Any] = {"cwd": worktree, "env": env, "timeout": 60.0, "grace": 1.0, **more}
        ended = Sandbox(policy).run(["bash", "-c", script], on_output=output.append, **options)
        return ended, b"".join(output).decode(errors="replace")

    return run


@pytest.mark.parametrize("mode", ALL)
def test_the_worktree_and_out_can_be_written_and_what_was_written_stays(run: Run, tmp_path: Path, mode: str):
    ended, output = run(mode, "echo a > file && mkdir -p x/y && mv file x/y/ && echo b > $HAIKUD_OUT/b && exit 7")
    assert ended.exit_code == 7, output
    assert (tmp_path / "work/tree/x/y/file").read_text() == "a\n"
    assert (tmp_path / "spool/out/b").read_text() == "b\n"


@pytest.mark.parametrize("mode", ALL)
def test_what_no_policy_names_is_neither_read_nor_written(run: Run, tmp_path: Path, mode: str):
    secret = tmp_path / "spool" / "secret"
    script = f"cat {secret}; cat /etc/shadow; echo mine > {tmp_path}/spool/new; echo mine > {secret}; rm {secret}"
    _, output = run(mode, script)
    held = mode != "none"
    assert ("the secret" not in output) == held
    assert ("root:" not in output) == (held or os.geteuid() != 0)
    assert (tmp_path / "spool" / "new").exists() != held
    assert secret.exists() == held
