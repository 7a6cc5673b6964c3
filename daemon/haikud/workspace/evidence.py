"""Evidence: what changed on the branch since it started, measured by git in the repository.

Always against the commit that the branch started at, by comparing the two trees and counting the commits between, so
it also holds where the agent rewrote history. Reads only; fails with `GitError`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.git import Git, WorkspaceError, as_text
from haikud.workspace.repository import resolve

_TEST_FOLDERS = {"test", "tests", "__tests__", "spec", "specs", "testing", "__snapshots__", "e2e", "cypress"}
_TEST_FILE = re.compile(
    r"(test_.*|.*[_.-](test|tests|spec|specs)\.[^.]+|.*(Test|Tests|IT|Spec)\.(java|kt|kts|scala|groovy|cs|swift|php)"
    r"|conftest\.py|.*\.snap)"
)
_TEST_SETTINGS = re.compile(
    r"(pytest\.ini|tox\.ini|noxfile\.py|\.coveragerc|setup\.cfg|pyproject\.toml|package\.json|phpunit\.xml(\.dist)?"
    r"|(jest|vitest|vite|karma|playwright|cypress|mocha|ava|babel)\.(config|conf)\.[^/]+|\.mocharc(\..+)?|\.?jest\..+"
    r"|\.rspec|Makefile|makefile|GNUmakefile|Rakefile|justfile)"
)


def measure(
    order: WorkspaceOrder, start_sha: str, declared: Iterable[str], copied: Iterable[str] = ()
) -> dict[str, Any]:
    """The fields of `Evidence` that git knows, of `start_sha` to the branch's head; and `warnings`, to be taken out.

    `declared` are the paths that the task names (a folder stands for all beneath, `*` for a part of a name); without
    any, nothing counts as undeclared. Renames count as both names. Paths that are not UTF-8 are written escaped.
    """
    git = Git(order.git_common_dir)
    head = resolve(git, f"refs/heads/{order.branch}")
    if head is None:
        raise WorkspaceError(f"there is no branch {order.branch} to measure")
    changes = _changes(git, start_sha, head)
    files = sorted(changes)
    kept_out = sorted({name.strip("/") for name in copied})
    names = [_plain(name) for name in declared]
    return {
        "base_sha": start_sha,
        "head_sha": head,
        "branch": order.branch,
        "worktree": order.worktree,
        "commits": int(git.line("rev-list", "--count", f"{start_sha}..{head}")),
        "files_changed": files,
        "diffstat": git.line("diff-tree", "-r", "--no-renames", "--shortstat", start_sha, head).strip(),
        "undeclared_files": [path for path in files if not covers(names, path)] if names else [],
        "tests_touched": [f"{changes[path]} {path}" for path in files if changes[path] != "A" and is_test_path(path)],
        "excluded_files": kept_out,
        "warnings": list(_warnings(git, start_sha, head, set(files) & set(kept_out))),
    }


def is_test_path(path: str) -> bool:
    """Whether a path is a test, a test's data, or settings that decide what tests do."""
    parts = PurePosixPath(path).parts
    if any(part.lower() in _TEST_FOLDERS for part in parts[:-1]):
        return True
    return bool(_TEST_FILE.fullmatch(parts[-1]) or _TEST_SETTINGS.fullmatch(parts[-1]))


def covers(declared: Iterable[str], path: str) -> bool:
    """Whether one of the declared paths is this one, a folder above it, or a pattern that it matches."""
    return any(
        path == name or name in {"", "."} or path.startswith(name + "/") or fnmatch.fnmatchcase(path, name)
        for name in declared
    )


def _plain(name: str) -> str:
    return str(PurePosixPath(name.strip())).rstrip("/")


def _changes(git: Git, start: str, head: str) -> dict[str, str]:
    """Path -> A, M or D; a change of type is M, a rename is a D and an A."""
    parts = git.names("diff-tree", "-r", "-z", "--no-renames", "--name-status", start, head)
    return {
        as_text(path): "M" if status[:1] == b"T" else as_text(status[:1])
        for status, path in zip(parts[::2], parts[1::2], strict=True)
    }


def _warnings(git: Git, start: str, head: str, copied_and_committed: set[str]) -> Iterable[str]:
    if not git.holds("merge-base", "--is-ancestor", start, head):
        yield f"the branch no longer contains {start[:12]}, the commit it started at: its history was rewritten"
    for path in sorted(copied_and_committed):
        yield f"the agent committed {path}, which was copied in and is not part of the repository"
