"""Merging finished branches off to the side: `git merge-tree` and `git commit-tree`, without a checkout.

Promises: `build_merge` writes objects and nothing else. No branch moves, no index, no file of a checkout changes,
whatever comes of it. Each merge is a commit of its own (as `git merge --no-ff` makes it) that names the task. Merge
drivers are those of the repository's and the user's configuration, chosen by the attributes of the checkout.

Fails with `BranchConflict` at the first branch that does not merge, `GitTooOld`, or `GitError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from haikud.workspace.git import WRITE_SECONDS, Git, GitError, WorkspaceError, as_text

MERGE_TREE_SINCE = (2, 38)
"""The first git whose `merge-tree` can write a merge's result (its release notes)."""

_MOST_HUNK_LINES = 60
_MOST_DETAIL_FILES = 20


class GitTooOld(WorkspaceError):  # noqa: N818 - says what is the case
    """This git cannot merge without a checkout."""

    code = "GIT_TOO_OLD"


@dataclass(frozen=True)
class WantedBranch:
    """A finished task's branch, to be merged."""

    ref: str
    title: str
    branch: str
    tip: str  # the commit that is merged, whatever becomes of the branch meanwhile


@dataclass(frozen=True)
class MergedBranch:
    """What became of one branch."""

    wanted: WantedBranch
    commit: str | None  # the merge commit; None: its work was in there already


@dataclass(frozen=True)
class Merge:
    """A merge that was built and stands beside everything."""

    onto: str
    result: str  # the commit that has it all; `onto` itself where nothing was to be merged
    steps: tuple[MergedBranch, ...]


class BranchConflict(WorkspaceError):  # noqa: N818 - says what is the case
    """A branch does not merge with what was merged before it."""

    code = "MERGE_CONFLICT"

    def __init__(
        self, wanted: WantedBranch, others: Sequence[str], files: Sequence[str], details: str, steps: Sequence[str]
    ) -> None:
        super().__init__(f"{wanted.branch} conflicts with {' and '.join(others)} in {', '.join(files)}")
        self.wanted = wanted
        self.others = list(others)  # the branches it conflicts with
        self.files = list(files)
        self.details = details  # git's words, and the conflicting hunks
        self.steps = list(steps)  # the branches that had merged


def check_git_can_merge(git: Git) -> None:
    """Raise GitTooOld where it cannot, with the cure."""
    text = git.line("version")
    match = re.search(r"(\d+)\.(\d+)", text)
    if match is not None and (int(match[1]), int(match[2])) < MERGE_TREE_SINCE:
        needed = ".".join(map(str, MERGE_TREE_SINCE))
        raise GitTooOld(
            f"{text} cannot merge without a checkout (`git merge-tree --write-tree`): install git {needed} or newer "
            "(the backports of an older distribution have it), or merge the branches yourself with `git merge`"
        )


def build_merge(
    git_common_dir: str | Path,
    checkout: str | Path | None,
    into: tuple[str, str],
    branches: Iterable[WantedBranch],
    identity: tuple[str, str],
) -> Merge:
    """Merge the branches, in this order, into `into` (a branch's name and its commit).

    `checkout` is the top of the repository's checkout, whose `.gitattributes` say how files merge; None in a bare one.
    """
    name, onto = into
    folder = Path(checkout) if checkout is not None and Path(checkout).is_dir() else None
    git = Git(git_common_dir, folder)
    check_git_can_merge(git)
    steps: list[MergedBranch] = []
    result = onto
    for wanted in branches:
        if git.holds("merge-base", "--is-ancestor", wanted.tip, result):
            steps.append(MergedBranch(wanted, None))
            continue
        tree = _merge_tree(git, name, onto, result, wanted, steps)
        result = _commit(git, tree, (result, wanted.tip), _message(wanted), identity)
        steps.append(MergedBranch(wanted, result))
    return Merge(onto, result, tuple(steps))


def count_commits(git_common_dir: str | Path, tip: str, onto: str) -> int:
    """How many commits `tip` has that `onto` has not."""
    return int(Git(git_common_dir).line("rev-list", "--count", tip, f"^{onto}"))


def _merge_tree(
    git: Git, name: str, onto: str, result: str, wanted: WantedBranch, steps: Sequence[MergedBranch]
) -> str:
    ran = git.ask(
        *("merge-tree", "--write-tree", "-z", "--name-only", "--messages", result, wanted.tip),
        ok=(0, 1),
        timeout=WRITE_SECONDS,
    )
    parts = ran.stdout.split(b"\0")
    tree = as_text(parts[0]).strip()
    if ran.exit_code == 0:
        return tree
    if not re.fullmatch(r"[0-9a-f]{40,64}", tree):
        raise GitError(f"could not merge {wanted.branch}: {ran.stderr}", ran.command, ran.exit_code, ran.stderr)
    end = parts.index(b"", 1)
    files = list(dict.fromkeys(parts[1:end]))
    details = [*_messages(parts[end + 1 :]), *_hunks(git, tree, files, wanted, name)]
    others = _touched_too(git, onto, files, steps) or [name]
    merged = [step.wanted.branch for step in steps if step.commit is not None]
    raise BranchConflict(wanted, others, [as_text(file) for file in files], "\n".join(details), merged)


def _messages(parts: list[bytes]) -> list[str]:
    """What git says of the conflicts: records of a count, so many paths, a kind and a text."""
    said: list[str] = []
    at = 0
    while at < len(parts) and parts[at].isdigit():
        kind, text = parts[at + int(parts[at]) + 1 : at + int(parts[at]) + 3] or (b"", b"")
        if kind != b"Auto-merging":
            said.append(as_text(text).strip())
        at += int(parts[at]) + 3
    return said


def _hunks(git: Git, tree: str, files: list[bytes], wanted: WantedBranch, name: str) -> list[str]:
    """The conflicting parts of each file, between git's own marks."""
    lines: list[str] = []
    for file in files[:_MOST_DETAIL_FILES]:
        ran = git.ask("cat-file", "blob", f"{tree}:{as_text(file)}", ok=None)
        inside, found = False, []
        for line in as_text(ran.stdout).splitlines() if ran.exit_code == 0 else []:
            if line.startswith("<<<<<<< "):
                inside, line = True, f"<<<<<<< {name}, with what was merged before"  # noqa: PLW2901 - git has a commit id
            if inside and line.startswith(">>>>>>> "):
                inside, line = False, f">>>>>>> {wanted.branch}"  # noqa: PLW2901
                found.append(line)
            elif inside:
                found.append(line)
        if found:
            lines += [f"{as_text(file)}:", *found[:_MOST_HUNK_LINES]]
        if len(found) > _MOST_HUNK_LINES:
            lines.append(f"... and {len(found) - _MOST_HUNK_LINES} more lines")
    return lines


def _touched_too(git: Git, onto: str, files: list[bytes], steps: Sequence[MergedBranch]) -> list[str]:
    """The branches merged before that changed one of these files too."""
    found = []
    for step in steps:
        base = git.ask("merge-base", onto, step.wanted.tip, ok=(0, 1)).text.split()
        if step.commit is not None and base:
            changed = git.names("diff-tree", "-r", "-z", "--name-only", "--no-renames", base[0], step.wanted.tip)
            if set(changed) & set(files):
                found.append(step.wanted.branch)
    return found


def _message(wanted: WantedBranch) -> str:
    title = " ".join(wanted.title.split()) or wanted.branch
    return f"Merge {wanted.ref}: {title}\n\nThe work of task {wanted.ref}, from {wanted.branch}.\n"


def _commit(git: Git, tree: str, parents: tuple[str, str], message: str, identity: tuple[str, str]) -> str:
    name, email = identity
    who = {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }
    options = [part for parent in parents for part in ("-p", parent)]
    ran = git.ask("commit-tree", tree, *options, "-F", "-", stdin=message.encode("utf-8", "replace"), env=who)
    return ran.text.strip()
