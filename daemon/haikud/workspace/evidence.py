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
from haikud.workspace.refs import find_ref

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
    head = find_ref(order.git_common_dir, f"refs/heads/{order.branch}")
    if head is None:
        raise WorkspaceError(f"there is no branch {order.branch} to measure")
    changes, diffstat, commits, missing = _compare(git, start_sha, head)
    files = sorted(changes)
    kept_out = sorted({name.strip("/") for name in copied})
    names = [_plain(name) for name in declared]
    return {
        "base_sha": start_sha,
        "head_sha": head,
        "branch": order.branch,
        "worktree": order.worktree,
        "commits": commits,
        "files_changed": files,
        "diffstat": diffstat,
        "undeclared_files": [path for path in files if not covers(names, path)] if names else [],
        "tests_touched": [f"{changes[path]} {path}" for path in files if changes[path] != "A" and is_test_path(path)],
        "excluded_files": kept_out,
        "warnings": list(_warnings(start_sha, missing, set(files) & set(kept_out))),
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


def _compare(git: Git, start: str, head: str) -> tuple[dict[str, str], str, int, int]:
    """What changed (path -> A, M or D; a change of type is M, a rename is a D and an A), git's words on how much.

    And the commits that the head has beyond the start, and those that it no longer has.
    """
    if start == head:
        return {}, "", 0, 0
    counting = git.begin("rev-list", "--count", "--left-right", f"{start}...{head}")
    try:
        output = git.ask("diff-tree", "-r", "-z", "--no-renames", "--raw", "--shortstat", start, head).stdout
        missing, commits = counting.finish().text.split()
    finally:
        counting.end()
    *parts, diffstat = output.split(b"\0")  # `:MODE MODE SHA SHA STATUS`, path, ..., and in the end the words
    changes = {}
    for facts, path in zip(parts[::2], parts[1::2], strict=True):
        status = as_text(facts.rpartition(b" ")[2][:1])
        changes[as_text(path)] = "M" if status == "T" else status
    return changes, as_text(diffstat).strip(), int(commits), int(missing)


def _warnings(start: str, missing: int, copied_and_committed: set[str]) -> Iterable[str]:
    if missing:
        yield f"the branch no longer contains {start[:12]}, the commit it started at: its history was rewritten"
    for path in sorted(copied_and_committed):
        yield f"the agent committed {path}, which was copied in and is not part of the repository"
