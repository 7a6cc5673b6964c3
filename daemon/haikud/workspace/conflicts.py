"""The sides of a merge conflict: which branches changed the files that conflict, and how. Reads only.

What a dependency's branch conflicts with are those merged before it; of these, the ones that changed the same files,
each compared with the commit that both come from. Diffs are excerpts: what was left out is counted, and `command`
shows the whole. Fails with `GitError`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.commits import MergeConflict
from haikud.workspace.git import Git, as_text

MOST_LINES = 80
"""Of one side's diff."""

MOST_CHARACTERS = 6_000

_PLAIN_DIFF = ("diff-tree", "-p", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")


@dataclass(frozen=True)
class Side:
    """One side: a branch (or the commit that the task's own branch started at), and its changes since `base`."""

    branch: str
    base: str  # the commit that both sides come from, shortened; "" where they have none in common
    diff: str  # an excerpt, of the conflicting files alone
    command: str  # shows all of it


def find_sides(order: WorkspaceOrder, conflict: MergeConflict) -> list[Side]:
    """The sides of a conflict, the branch that could not be merged last."""
    git = Git(order.git_common_dir)
    tip = f"refs/heads/{conflict.branch}"
    others = {name: f"refs/heads/{name}" for name in conflict.others} or {order.main_branch: order.base_sha}
    bases = {name: _common(git, commit, tip) for name, commit in others.items()}
    changed = [name for name, base in bases.items() if base and _changes(git, base, others[name], conflict.files)]
    names = changed or list(others)
    sides = [_side(git, name, others[name], bases[name], conflict.files) for name in names]
    return [*sides, _side(git, conflict.branch, tip, bases[names[0]], conflict.files)]


def _common(git: Git, one: str, other: str) -> str:
    return git.ask("merge-base", one, other, ok=(0, 1)).text.strip()


def _changes(git: Git, base: str, commit: str, files: Sequence[str]) -> bool:
    literal = ("--literal-pathspecs", "diff-tree", "-r", "--quiet", "--no-renames")
    return not git.holds(*literal, base, commit, "--", *files)


def _side(git: Git, name: str, commit: str, base: str, files: Sequence[str]) -> Side:
    if not base:
        return Side(name, "", "", f"git log -p {shlex.quote(name)}")
    diff = as_text(git.ask("--literal-pathspecs", *_PLAIN_DIFF, base, commit, "--", *files).stdout)
    short = base[:12]
    return Side(name, short, _excerpt(diff), shlex.join(["git", "diff", f"{short}...{name}", "--", *files]))


def _excerpt(diff: str) -> str:
    lines = diff.splitlines()
    kept: list[str] = []
    room = MOST_CHARACTERS
    for line in lines[:MOST_LINES]:
        if room < len(line) + 1:
            break
        kept.append(line)
        room -= len(line) + 1
    left = len(lines) - len(kept)
    return "\n".join([*kept, *([f"[... {left} more lines]"] if left else [])])
