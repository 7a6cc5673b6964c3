"""What admission asks a repository: where it is, which commit a branch would start at, which role files it has there.

Read-only. Fails with `NotARepository`, which names the path and what was found there. Every later call names the git
folder that was found here; discovery happens nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from haikud.workspace.git import Git, GitError, GitKilled, WorkspaceError, as_text
from haikud.workspace.looks import Place, RecentLooks
from haikud.workspace.refs import find_ref, head_branch

LARGEST_FILE_READ = 262_144
MOST_FILES_READ = 1_000


class NotARepository(WorkspaceError):  # noqa: N818 - says what is the case
    """`path` cannot be worked in; `why` says what was found there."""

    code = "NOT_A_REPOSITORY"

    def __init__(self, path: str | Path, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.path = str(path)
        self.why = why


class NotAllowed(NotARepository):
    """The repository is one, and must not be worked in; nothing was asked of it but where it is."""

    code = "REPOSITORY_NOT_ALLOWED"


@dataclass(frozen=True)
class Whereabouts:
    """Where a repository's parts are. All paths are absolute and without symlinks."""

    top: str
    git_dir: str
    git_common_dir: str


@dataclass(frozen=True)
class RepositoryFacts:
    """A repository as it is now. All paths are absolute and without symlinks."""

    top: str  # the checkout's top level, or the bare repository itself
    git_common_dir: str
    main_branch: str  # a branch's name; the commit id where HEAD is detached and no branch was asked for
    base_sha: str  # the head of main_branch
    dirty: bool  # tracked files have changes that are not committed
    bare: bool
    detached: bool = False


class _Head(NamedTuple):
    """Where a checkout stands: a branch and its commit, neither where it is on none or has no commit yet."""

    branch: str
    sha: str | None
    dirty: bool


def inspect_repository(
    path: str | Path,
    main_branch: str | None = None,
    *,
    why_not: Callable[[Whereabouts], str | None] | None = None,
    looks: RecentLooks | None = None,
) -> RepositoryFacts:
    """Find the repository that `path` (a folder; a subfolder will do) belongs to, and the commit to start from.

    `main_branch` None means the branch that the checkout is on. Where HEAD is detached, that is its commit: then
    `main_branch` is the commit id, which git takes wherever it takes a branch. Raises NotARepository.

    `why_not` is asked once it is known where the repository is, before git does anything there that the repository's
    own settings could turn into running a program; a text from it is raised as NotAllowed. `looks` spares git what it
    has said a moment ago.
    """
    path = Path(path)
    if not path.exists():
        raise NotARepository(path, "does not exist")
    if not path.is_dir():
        raise NotARepository(path, "is not a folder")
    looks = looks or RecentLooks()
    place = looks.place(path)
    if place is not None:
        git, top, common, bare = Git(place.git_dir, place.top), place.top, place.git_dir, False
    else:
        git, top, common, bare = _locate(path)
        looks.remember_place(path, top, os.path.realpath(git.git_dir or common), common)
    if why_not is not None:
        why = why_not(Whereabouts(top, os.path.realpath(git.git_dir or common), common))
        if why is not None:
            raise NotAllowed(path, why)
    head = _Head("", None, False)
    if not bare:
        place = place or looks.place(path)
        head = _look_again(place, looks) if place is not None else _look(git)
    if head.branch and head.sha is not None and main_branch in {None, head.branch}:
        return RepositoryFacts(top, common, head.branch, head.sha, head.dirty, bare=False)
    if main_branch is None:
        name, detached = _current_branch(git)
    else:
        name, detached = main_branch, False
    base_sha = _head_of(git, path, name, detached=detached)
    main = base_sha if detached else name
    return RepositoryFacts(top, common, main, base_sha, head.dirty, bare, detached)


def read_files_at(git_common_dir: str | Path, sha: str, folder: str) -> dict[str, bytes]:
    """The files in `folder` (relative, `/`) and below as they are at commit `sha`: path within it -> content.

    Empty where there is no such folder. Symlinks, files over 256 KiB and, in the order of names, those beyond the
    first MOST_FILES_READ are left out.
    """
    git = Git(git_common_dir)
    prefix = folder.strip("/") + "/"
    names: list[bytes] = []
    oids: list[bytes] = []
    for entry in git.names("ls-tree", "-r", "-z", "-l", f"{sha}^{{commit}}", "--", prefix):
        head, _, name = entry.partition(b"\t")
        mode, kind, oid, size = head.split()
        if len(names) >= MOST_FILES_READ:
            break
        if kind == b"blob" and mode != b"120000" and int(size) <= LARGEST_FILE_READ:
            names.append(name)
            oids.append(oid)
    if not names:
        return {}
    output = git.ask("cat-file", "--batch", stdin=b"".join(oid + b"\n" for oid in oids)).stdout
    files: dict[str, bytes] = {}
    at = 0
    for name in names:
        header_end = output.index(b"\n", at)
        size_of = int(output[at:header_end].split()[2])
        at = header_end + 1
        files[os.fsdecode(name)[len(prefix) :]] = output[at : at + size_of]
        at += size_of + 1
    return files


def current_head(git_common_dir: str | Path, branch: str) -> str | None:
    """The commit at the head of `branch`, or None where there is no such branch."""
    return resolve(Git(git_common_dir), f"refs/heads/{branch}")


def resolve_ref(git_common_dir: str | Path, name: str) -> str | None:
    """The commit of a full ref name, or None where there is no such ref."""
    return resolve(Git(git_common_dir), name)


def resolve(git: Git, name: str) -> str | None:
    """The commit that a full ref name or commit id stands for, or None."""
    ran = git.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", ok=None)
    return ran.text.strip() or None if ran.exit_code == 0 else None


def _locate(path: Path) -> tuple[Git, str, str, bool]:
    here = Git(None, cwd=str(path))
    try:
        what = ("--is-bare-repository", "--is-inside-work-tree", "--absolute-git-dir", "--git-common-dir")
        up = "--show-cdup"  # says nothing in a bare one, where --show-toplevel would fail
        answers = here.line("rev-parse", "--path-format=absolute", *what, up).split("\n")
        bare_text, inside_text = answers[:2]
        if bare_text != "true" and inside_text != "true":
            raise NotARepository(path, "lies inside a repository's .git folder")
        if len(answers) != len(what) + (bare_text != "true"):
            raise NotARepository(path, "has a line break in its path, which git's own files cannot hold")
        git_dir, common = answers[2:4]
        top = os.path.realpath(common if bare_text == "true" else Path(os.path.realpath(path)) / answers[4])
    except GitKilled:
        raise
    except GitError as error:
        if "not a git repository" in error.stderr:
            raise NotARepository(path, "is not a git repository") from error
        raise NotARepository(path, f"cannot be read by git: {error}") from error
    bare = bare_text == "true"
    return Git(git_dir, None if bare else top), top, os.path.realpath(common), bare


def _current_branch(git: Git) -> tuple[str, bool]:
    ran = git.ask("symbolic-ref", "--quiet", "HEAD", ok=(0, 1))
    full = ran.text.strip()
    if full.startswith("refs/heads/"):
        return full.removeprefix("refs/heads/"), False
    return "HEAD", True


def _head_of(git: Git, path: Path, name: str, *, detached: bool) -> str:
    sha = resolve(git, "HEAD" if detached else f"refs/heads/{name}")
    if sha is not None:
        return sha
    branches = git.run("for-each-ref", "--format=%(refname:strip=2)", "--count=6", "refs/heads").split()
    if not branches:
        raise NotARepository(path, "has no commit yet; commit something first")
    raise NotARepository(path, f"has no branch {name!r}; it has {', '.join(branches)}")


def _look(git: Git) -> _Head:
    """HEAD, and whether tracked files have changes that are not committed."""
    options = ("--porcelain=v2", "--branch", "--no-ahead-behind", "-z")
    branch, sha, dirty = "", None, False
    for line in git.names("status", *options, "--untracked-files=no", "--ignore-submodules=all"):
        if line.startswith(b"# branch.head "):
            branch = as_text(line[14:])
        elif line.startswith(b"# branch.oid "):
            sha = as_text(line[13:])
        elif not line.startswith(b"#"):
            dirty = True
    if sha == "(initial)" or branch == "(detached)":
        return _Head("", None, dirty)
    return _Head(branch, sha, dirty)


def _look_again(place: Place, looks: RecentLooks) -> _Head:
    """The same, with what was seen a moment ago."""
    name = head_branch(place.git_dir)
    sha = find_ref(place.git_dir, name) if name else None
    if name and sha is not None:
        stands = f"{name} {sha}"
        dirty = looks.dirty(place, stands)
        if dirty is not None:
            return _Head(name.removeprefix("refs/heads/"), sha, dirty)
        noted = looks.note(place, stands)
        head = _look(Git(place.git_dir, place.top))
        if stands == f"refs/heads/{head.branch} {head.sha}":
            looks.remember_dirty(place, stands, noted, dirty=head.dirty)
        return head
    return _look(Git(place.git_dir, place.top))
