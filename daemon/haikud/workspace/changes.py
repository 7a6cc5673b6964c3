"""What a worktree looks like while its agent works: which files differ, committed or not, and which nobody expects.

Reads only, from the repository's side: the agent's own git folder, which an agent can write, is not asked. Fails with
`WorkspaceError`, also where git takes longer than MOST_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.checks import expect_entry
from haikud.workspace.evidence import covers, is_test_path
from haikud.workspace.git import Git, as_text

MOST_SECONDS = 20.0

LOCK_FILES = frozenset(
    {
        *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"),
        *("poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "Cargo.lock", "go.sum", "go.work.sum"),
        *("Gemfile.lock", "composer.lock", "mix.lock", "pubspec.lock", "Package.resolved", "packages.lock.json"),
        *("gradle.lockfile", "flake.lock", "deno.lock", "Podfile.lock"),
    }
)
"""What package programs write by themselves."""

_MADE_FOLDERS = frozenset(
    {
        *("node_modules", "__pycache__", ".venv", "venv", ".pytest_cache", ".mypy_cache", ".ruff_cache"),
        *(".tox", ".nox", ".gradle", ".next", "coverage", "htmlcov"),
    }
)
_MADE_FILES = frozenset({".coverage", ".DS_Store"})
_PACKAGE_FILES = frozenset({"__init__.py", "py.typed", "mod.rs", "index.ts", "index.js"})


def changed_files(order: WorkspaceOrder, start_sha: str, exclude: Iterable[str] = ()) -> list[str]:
    """Every path that differs from the commit that the branch started at, ignored and copied-in files excepted."""
    git = _git(order)
    tracked = ("diff", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--ignore-submodules=all", start_sha, "--")
    untracked = ("ls-files", "-z", "--others", "--exclude-standard")
    outputs = (git.ask(*command, timeout=MOST_SECONDS).stdout for command in (tracked, untracked))
    names = {as_text(name) for output in outputs for name in output.split(b"\0") if name}
    kept_out = [name.strip("/") for name in exclude]
    return sorted(name for name in names if not (kept_out and covers(kept_out, name)))


def status_lines(order: WorkspaceOrder) -> list[str]:
    """`git status --short`, against what the branch was when the attempt began: what is committed since shows too."""
    said = _git(order).ask("status", "--short", "--ignore-submodules=all", timeout=MOST_SECONDS)
    return said.text.splitlines()


def unexpected(changed: Iterable[str], declared: Iterable[str]) -> list[str]:
    """The changed paths that the task neither declares nor has to change along with what it declares.

    That is: lock files of package programs, what tools make, the file that makes a folder with declared files a
    package, and a test that lies beside a declared file or bears its name. Without declared files all is expected.
    """
    names = [str(PurePosixPath(name.strip())) for name in declared if name.strip()]
    if not names:
        return []
    folders = {str(PurePosixPath(name).parent) for name in names}
    stems = {stem for name in names if len(stem := PurePosixPath(name).name.partition(".")[0]) > 1}
    return [path for path in changed if not covers(names, path) and not _comes_along(path, folders, stems)]


def _comes_along(path: str, folders: set[str], stems: set[str]) -> bool:
    place = PurePosixPath(path)
    if place.name in LOCK_FILES or place.name in _MADE_FILES or any(part in _MADE_FOLDERS for part in place.parts[:-1]):
        return True
    folder = str(place.parent)
    if place.name in _PACKAGE_FILES and folder in folders:
        return True
    if not is_test_path(path) or place.name in _SETTINGS_OF_ALL:
        return False
    beside = any(folder == one or (one != "." and folder.startswith(one + "/")) for one in folders)
    return beside or any(stem.lower() in place.name.lower() for stem in stems)


_SETTINGS_OF_ALL = frozenset({"package.json", "pyproject.toml", "setup.cfg", "Makefile", "makefile", "tox.ini"})
"""Settings of tests, and of all else in a project."""


def _git(order: WorkspaceOrder) -> Git:
    return Git(expect_entry(order), order.worktree)
