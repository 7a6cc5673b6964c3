"""The sides of a merge conflict."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import commit_file

from haikud.workspace.commits import MergeConflict, merge_dependencies
from haikud.workspace.conflicts import MOST_LINES, find_sides


def conflict_of(bench, changes: dict[str, dict[str, str]]):
    """An order whose dependencies make these changes, and the conflict that they end in."""
    for ref, files in changes.items():
        folder = Path(bench.prepared(ref).worktree)
        for name, text in files.items():
            commit_file(folder, name, text)
    order = bench.prepared("join", merge_refs=[f"feature/{ref}" for ref in changes])
    with pytest.raises(MergeConflict) as caught:
        merge_dependencies(order)
    return order, caught.value


def test_only_those_that_changed_the_same_files_are_sides(bench):
    order, conflict = conflict_of(
        bench, {"a": {"app.py": "a\n"}, "b": {"other.py": "b\n"}, "c": {"app.py": "c\n", "more.py": "c\n"}}
    )
    assert conflict.others == ["feature/a", "feature/b"]
    a, c = find_sides(order, conflict)
    assert (a.branch, c.branch) == ("feature/a", "feature/c")
    assert "+a" in a.diff.splitlines()
    assert "+c" in c.diff.splitlines()
    assert "more.py" not in c.diff
    assert a.base == c.base == order.base_sha[:12]
    assert "+c" in git(bench.repo, *c.command.split()[1:])  # what it says can be run as it stands


def test_a_long_diff_is_an_excerpt_that_says_so(bench):
    lines = "".join(f"{number}\n" for number in range(1000))
    order, conflict = conflict_of(bench, {"a": {"app.py": lines}, "b": {"app.py": "x" * 10_000}})
    a, b = find_sides(order, conflict)
    assert len(a.diff.splitlines()) == MOST_LINES + 1
    assert a.diff.endswith("more lines]")
    assert len(b.diff) < 1000


def test_a_conflict_with_the_commit_it_starts_at(bench):
    folder = Path(bench.prepared("a").worktree)
    git(folder, "reset", "-q", "--hard", "HEAD")
    commit_file(folder, "app.py", "a\n")
    commit_file(bench.repo, "app.py", "main\n")
    order = bench.prepared("join", merge_refs=["feature/a"])
    with pytest.raises(MergeConflict) as caught:
        merge_dependencies(order)
    main, a = find_sides(order, caught.value)
    assert (main.branch, a.branch) == (order.main_branch, "feature/a")
    assert "+main" in main.diff.splitlines()
