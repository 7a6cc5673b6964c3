"""What a worktree costs in a repository of 100,000 files: git's own ways, haikud's, and the lock that others wait for.

Run, at the top of a checkout: python -m benchmarks.worktrees [--files 100000] [--only haikud] [--json FILE]

First `git worktree add` with one thing changed at a time, each on a fresh worktree, and `git status` in one. Then the
steps of an ordinary attempt as its runner takes them, in our own process: wall and processor time of each, and how long
it holds the repository's lock, for which every other task of that repository waits.

What it does not show: a cold page cache, a slow disk (compare processor times), filters such as git-lfs, history.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Row, arguments, finish
from tests.support.repository import CLEAN_GIT

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace import commits, evidence, private_git, worktrees
from haikud.workspace.looks import RecentLooks
from haikud.workspace.repository import inspect_repository
from haikud.workspace.repository_settings import read_settings

FOLDERS, WITHIN = 50, 40

ADD = ("worktree", "add", "--quiet", "--detach")
VARIANTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "git worktree add": ((*ADD, "{tree}"),),
    "--no-checkout": ((*ADD, "--no-checkout", "{tree}"),),
    "--no-checkout, then read-tree -u": (
        (*ADD, "--no-checkout", "{tree}"),
        ("-C", "{tree}", "read-tree", "--reset", "-u", "HEAD"),
    ),
    "--no-checkout, sparse (2 of 50 folders)": (
        (*ADD, "--no-checkout", "{tree}"),
        ("-C", "{tree}", "sparse-checkout", "set", "--cone", "d00", "d01"),
        ("-C", "{tree}", "read-tree", "--reset", "-u", "HEAD"),
    ),
    "checkout.workers=2": (("-c", "checkout.workers=2", *ADD, "{tree}"),),
    "core.checkStat=minimal": (("-c", "core.checkStat=minimal", *ADD, "{tree}"),),
    "core.fsync=all": (("-c", "core.fsync=all", *ADD, "{tree}"),),
    "index.threads=1": (("-c", "index.threads=1", *ADD, "{tree}"),),
    "index.version=4": (("-c", "index.version=4", *ADD, "{tree}"),),
    "commit-graph": (("commit-graph", "write", "--reachable"), (*ADD, "{tree}")),
}
STATUS = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=all")
STATUSES: dict[str, tuple[str, ...]] = {
    "git status": STATUS,
    "git status, index.threads=1": ("-c", "index.threads=1", *STATUS),
    "git status, core.preloadIndex=false": ("-c", "core.preloadIndex=false", *STATUS),
    "git status, untracked cache": ("-c", "core.untrackedCache=true", *STATUS),
    "git status, core.checkStat=minimal": ("-c", "core.checkStat=minimal", *STATUS),
    "git status, tracked files only": (*STATUS, "--untracked-files=no"),
}


@dataclass
class Clock:
    """Wall and processor seconds, ours and those of ended children; and how long the repository's lock was held."""

    wall: float = 0.0
    cpu: float = 0.0
    held: float = 0.0
    processes: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens within."""
        wall, cpu = time.perf_counter(), _cpu()
        try:
            yield
        finally:
            self.wall += time.perf_counter() - wall
            self.cpu += _cpu() - cpu


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def make_large_repository(folder: Path, files: int) -> Path:
    """One commit with so many small files, in 50 times 40 folders, checked out."""
    git(folder.parent, "init", "-q", "-b", "main", str(folder))
    process = subprocess.Popen(
        ["git", "-C", str(folder), "fast-import", "--quiet"], stdin=subprocess.PIPE, env={**os.environ, **CLEAN_GIT}
    )
    assert process.stdin is not None
    with process.stdin as stream:
        stream.write(b"commit refs/heads/main\ncommitter bench <bench@example.org> 0 +0000\ndata 1\nx\n")
        for number in range(files):
            data = b"file %d\n" % number * 20
            name = b"d%02d/e%02d/f%06d.txt" % (number % FOLDERS, number // FOLDERS % WITHIN, number)
            stream.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(data), data))
    assert process.wait() == 0
    git(folder, "reset", "-q", "--hard")
    return folder


def git(folder: Path, *args: str) -> None:
    """One call as a person makes it."""
    subprocess.run(["git", *args], cwd=folder, env={**os.environ, **CLEAN_GIT}, check=True, stdout=subprocess.DEVNULL)


def rows_of(what: str, clock: Clock, *, lock: bool = False) -> list[Row]:
    """What one step took."""
    rows = [Row(what, clock.wall, "s", column="wall"), Row(what, clock.cpu, "s", column="CPU")]
    return [*rows, Row(what, clock.held * 1000, "ms", column="lock held")] if lock else rows


def measure_git(repository: Path, runs: int) -> list[Row]:
    """Git's own ways to make a worktree, and to look at one. The quickest of the runs, in turns."""
    taken: dict[str, list[Clock]] = {}
    for number in range(runs):
        for name, calls in VARIANTS.items():
            tree = repository.parent / f"tree-{number}"
            clock = Clock()
            with clock.running():
                for call in calls:
                    git(repository, *(part.format(tree=tree) for part in call))
            taken.setdefault(name, []).append(clock)
            if name == "checkout.workers=2":
                for what, call in STATUSES.items():
                    clock = Clock()
                    with clock.running():
                        git(tree, *call)
                    taken.setdefault(what, []).append(clock)
            git(repository, "worktree", "remove", "--force", str(tree))
    return [row for name, clocks in taken.items() for row in rows_of(name, min(clocks, key=lambda one: one.cpu))]


@contextmanager
def lock_watched(common: str) -> Iterator[Callable[[], float]]:
    """How long the repository's lock was held since the last call, as one sees who looks at it every millisecond."""
    import fcntl

    done, held = threading.Event(), [0.0]
    path = Path(common) / "haikud.lock"

    def look() -> None:
        with path.open("ab") as file:
            last = time.perf_counter()
            while not done.wait(0.0005):
                now = time.perf_counter()
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    fcntl.flock(file, fcntl.LOCK_UN)
                except BlockingIOError:
                    held[0] += now - last
                last = now

    def take() -> float:
        seconds, held[0] = held[0], 0.0
        return seconds

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield take
    finally:
        done.set()
        thread.join()


def measure_haikud(repository: Path, folder: Path) -> list[Row]:
    """The git steps of one ordinary attempt, in the order in which its runner takes them."""
    rows: list[Row] = []
    looks = RecentLooks()
    facts = inspect_repository(repository)
    order = WorkspaceOrder.model_validate(
        {
            "repository": facts.top,
            "git_common_dir": facts.git_common_dir,
            "branch": "feature/bench",
            "worktree": str(folder / "worktrees" / "bench"),
            "main_branch": facts.main_branch,
            "base_sha": facts.base_sha,
            "private_git": str(folder / "plans" / "bench" / "bench" / "git"),
            "spool_id": "11111111-1111-4111-8111-111111111111",
        }
    )
    tree = Path(order.worktree)
    settings = read_settings(facts.git_common_dir)

    def work() -> None:
        """What a small task changes: two files committed with the agent's git, one left as it is."""
        for name in ("d00/e00/f000000.txt", "d01/new.txt"):
            (tree / name).write_text("changed\n", encoding="utf-8")
        git(tree, "add", "d00", "d01")
        git(tree, "commit", "-q", "-m", "work")
        (tree / "d02" / "left.txt").write_text("left\n", encoding="utf-8")

    who = ("bench", "bench@example.org")
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("admission: look at the repository", lambda: inspect_repository(repository, looks=looks)),
        ("admission: the next plan at once", lambda: inspect_repository(repository, looks=looks)),
        ("setup: prepare_worktree", lambda: worktrees.prepare_worktree(order, lambda: settings)),
        (
            "setup: attach_private_git",
            lambda: private_git.attach_private_git(order, settings=settings, index_is_right=True),
        ),
        ("(the agent: edit, git add, git commit)", work),
        ("validate: harvest", lambda: private_git.harvest(order, settings)),
        ("validate: commit_leftovers", lambda: commits.commit_leftovers(order, "left", identity=who)),
        ("validate: measure", lambda: evidence.measure(order, order.base_sha, [])),
        ("retry: prepare_worktree", lambda: worktrees.prepare_worktree(order, lambda: settings)),
        ("retry: attach_private_git", lambda: private_git.attach_private_git(order, settings=settings)),
        ("retry: harvest, nothing changed", lambda: private_git.harvest(order, settings)),
        ("retry: find_leftovers, nothing changed", lambda: commits.find_leftovers(order)),
    )
    with lock_watched(facts.git_common_dir) as held:
        for name, step in steps:
            clock = Clock()
            held()
            with clock.running():
                step()
            clock.held = held()
            rows += rows_of(name, clock, lock=True)
    return rows


def main() -> None:
    """Measure and print a table."""
    parser = arguments(__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", choices=("git", "haikud"))
    options = parser.parse_args()
    os.environ.update(CLEAN_GIT)
    with tempfile.TemporaryDirectory(prefix="haikud-worktrees-") as name:
        folder = Path(name).resolve()
        repository = make_large_repository(folder / "project", options.files)
        rows = [] if options.only == "haikud" else measure_git(repository, options.runs)
        rows += [] if options.only == "git" else measure_haikud(repository, folder)
    finish("worktrees", rows, options.json, files=options.files)


if __name__ == "__main__":
    main()
