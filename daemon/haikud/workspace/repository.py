"""What admission asks a repository: where it is, which commit a branch would start at, which role files it has there.

Read-only. Fails with `NotARepository`, which names the path and what was found there. Every later call names the git
folder that was found here; discovery happens nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from haikud.workspace.git import Git, GitError, GitKilled, WorkspaceError

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


def inspect_repository(
    path: str | Path, main_branch: str | None = None, *, why_not: Callable[[Whereabouts], str | None] | None = None
) -> RepositoryFacts:
    """Find the repository that `path` (a folder; a subfolder will do) belongs to, and the commit to start from.

    `main_branch` None means the branch that the checkout is on. Where HEAD is detached, that is its commit: then
    `main_branch` is the commit id, which git takes wherever it takes a branch. Raises NotARepository.

    `why_not` is asked once it is known where the repository is, before git does anything there that the repository's
    own settings could turn into running a program; a text from it is raised as NotAllowed.
    """
    path = Path(path)
    if not path.exists():
        raise NotARepository(path, "does not exist")
    if not path.is_dir():
        raise NotARepository(path, "is not a folder")
    git, top, common, bare = _locate(path)
    if why_not is not None:
        why = why_not(Whereabouts(top, os.path.realpath(git.git_dir or common), common))
        if why is not None:
            raise NotAllowed(path, why)
    if main_branch is None:
        name, detached = _current_branch(git)
    else:
        name, detached = main_branch, False
    base_sha = _head_of(git, path, name, detached=detached)
    dirty = False if bare else _has_changes(git)
    main = base_sha if detached else name
    return RepositoryFacts(top, common, main, base_sha, dirty, bare, detached)


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
        answers = here.line("rev-parse", "--path-format=absolute", *what).split("\n")
        if len(answers) != len(what):
            raise NotARepository(path, "has a line break in its path, which git's own files cannot hold")
        bare_text, inside_text, git_dir, common = answers
        if bare_text == "true":
            top = os.path.realpath(common)
        elif inside_text == "true":
            top = os.path.realpath(here.line("rev-parse", "--path-format=absolute", "--show-toplevel"))
        else:
            raise NotARepository(path, "lies inside a repository's .git folder")
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


def _has_changes(git: Git) -> bool:
    return bool(git.names("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all"))
