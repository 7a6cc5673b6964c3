"""What a worktree looks like while its agent works, and which changes nobody expects."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file

from haikud.workspace.changes import changed_files, status_lines, unexpected
from haikud.workspace.git import WorkspaceError
from haikud.workspace.private_git import attach_private_git


def test_what_is_committed_and_what_is_not_shows_while_the_agents_git_is_in_place(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    attach_private_git(order, exclude=[".env"])
    commit_file(worktree, "app.py", "print('committed')\n")
    commit_file(worktree, "new.py", "x\n")
    (worktree / "src" / "mod.py").write_text("ONE = 2\n")
    (worktree / "left ö.py").write_text("y\n")
    (worktree / "ignored.log").write_text("z\n")
    (worktree / ".env").write_text("KEY=1\n")
    changed = ["app.py", "left ö.py", "new.py", "src/mod.py"]
    assert changed_files(order, order.base_sha, [".env"]) == changed
    shown = status_lines(order)
    assert " M app.py" in shown
    assert "?? new.py" in shown
    (worktree / "app.py").write_text("print('hello')\n")  # as it was
    assert "app.py" not in changed_files(order, order.base_sha, [".env"])


def test_settings_that_an_agent_gives_its_own_git_are_not_asked(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    attach_private_git(order)
    trap = worktree / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch '{worktree}/sprung'\n")
    trap.chmod(0o755)
    git(worktree, "config", "core.fsmonitor", str(trap))
    git(worktree, "config", "filter.evil.clean", str(trap))
    (worktree / ".gitattributes").write_text("*.py filter=evil\n")
    (worktree / "app.py").write_text("print('bye')\n")
    assert changed_files(order, order.base_sha) == [".gitattributes", "app.py", "trap.sh"]
    status_lines(order)
    assert not (worktree / "sprung").exists()


def test_without_a_worktree_there_is_an_error(bench):
    with pytest.raises(WorkspaceError):
        changed_files(bench.order(), "HEAD")


@pytest.mark.parametrize(
    ("path", "declared", "wanted"),
    [
        ("src/auth.py", ["src/auth.py"], True),
        ("src/auth.py", ["src/"], True),
        ("src/auth.py", ["src/*.py"], True),
        ("src/other.py", ["src/auth.py"], False),
        ("README.md", ["src/auth.py"], False),
        (".github/workflows/ci.yml", ["src/auth.py"], False),
        ("package-lock.json", ["src/auth.ts"], True),
        ("web/yarn.lock", ["src/auth.ts"], True),
        ("package.json", ["src/auth.ts"], False),
        ("pyproject.toml", ["auth.py"], False),
        ("src/__init__.py", ["src/auth.py"], True),
        ("other/__init__.py", ["src/auth.py"], False),
        ("src/auth.test.ts", ["src/auth.ts"], True),
        ("src/tests/test_more.py", ["src/auth.py"], True),
        ("tests/test_auth.py", ["src/auth.py"], True),
        ("tests/test_payment.py", ["src/auth.py"], False),
        ("tests/test_payment.py", ["setup.py"], False),
        ("tests/__snapshots__/Auth.snap", ["src/auth.ts"], True),
        ("node_modules/x/index.js", ["src/auth.ts"], True),
        ("src/__pycache__/auth.pyc", ["src/auth.py"], True),
        ("anything", [], True),
    ],
)
def test_what_comes_along_with_declared_files_is_expected(path: str, declared: list[str], wanted: bool):
    assert unexpected([path], declared) == ([] if wanted else [path])
