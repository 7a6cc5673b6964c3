"""Where the demo plays: a folder that it may replace, and the real git repository in it.

A folder is replaced only if it holds the demo's own marker file; anything else is left as it is, and said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from haikud.interfaces.demo_project import write_project
from haikud.interfaces.trouble import Trouble
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout

DEFAULT_FOLDER = ".demo"
MARKER = ".haikud-demo"
MOST_KEPT = 100
GIT_SECONDS = 30

SETTINGS = """\
# The settings of the demo's daemon. What is not here has its default.
budgets:
  task_usd: {budget}
git:  # a demo's commits are not yours
  user_name: haikud demo
  user_email: demo@example.org
"""

UNHELD = """\
sandbox:  # none works on this machine (`haikud doctor` says why), and the scripted model's commands are haikud's own
  mode: none
"""


@dataclass(frozen=True)
class DemoPlace:
    """The demo's folder and what lies in it."""

    root: Path

    @property
    def repository(self) -> Path:
        """The checkout that the agent's worktree comes from."""
        return self.root / "repository"

    @property
    def spool(self) -> SpoolLayout:
        """The daemon's spool."""
        return SpoolLayout(self.root / "spool")

    @property
    def settings(self) -> Path:
        """The daemon's settings."""
        return self.root / "haikud.yaml"

    @property
    def daemon_log(self) -> Path:
        """What the daemon says."""
        return self.root / "daemon.log"

    @property
    def api_log(self) -> Path:
        """What the scripted API says."""
        return self.root / "scripted-api.log"

    @property
    def api_journal(self) -> Path:
        """Every request to the scripted API and its answer."""
        return self.root / "scripted-api.jsonl"

    @property
    def api_port(self) -> Path:
        """The scripted API's port, once it is open."""
        return self.root / "scripted-api.port"


def make_place(workdir: Path | None, *, keep: bool, budget_usd: float, live: bool = False) -> DemoPlace:
    """A fresh folder with the repository and the settings; Trouble where the folder is not ours to replace.

    Without `live` the model is scripted: then the demo does without a sandbox where the machine can put up none.
    """
    place = DemoPlace(_choose(workdir, keep=keep))
    try:
        if place.root.is_symlink() or (place.root.exists() and not place.root.is_dir()):
            raise Trouble(f"{place.root} is not a folder", advice="name another one: haikud demo --workdir DIR")
        if place.root.exists():
            _clear(place)
        place.root.mkdir(parents=True, exist_ok=True)
        (place.root / MARKER).write_text("Made by `haikud demo`, which may replace this folder.\n", encoding="utf-8")
        place.settings.write_text(SETTINGS.format(budget=budget_usd) + _sandbox(live=live), encoding="utf-8")
        place.repository.mkdir()
        write_project(place.repository)
    except OSError as error:
        raise Trouble(
            f"cannot make the demo's folder {place.root}: {error}", advice="name another one: haikud demo --workdir DIR"
        ) from error
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "A navigation bar")):
        git(place.repository, *command)
    return place


def _sandbox(*, live: bool) -> str:
    from haikud.sandbox.probe import probe

    return UNHELD if not live and probe("auto").mode is None else ""


def git(folder: Path, *arguments: str) -> str:
    """Run git as the demo's user would, without the machine's own git settings; its output. Trouble if it fails."""
    identity = {"GIT_AUTHOR_NAME": "haikud demo", "GIT_AUTHOR_EMAIL": "demo@example.org"}
    identity |= {"GIT_COMMITTER_NAME": "haikud demo", "GIT_COMMITTER_EMAIL": "demo@example.org"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**inherited, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise Trouble("there is no git on the PATH", advice="install git, then run the demo again") from error
    if done.returncode:
        raise Trouble(f"git {' '.join(arguments)} failed in {folder}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def _choose(workdir: Path | None, *, keep: bool) -> Path:
    """The absolute path; with `keep` one that holds no earlier demo."""
    first = Path(os.path.abspath(workdir or DEFAULT_FOLDER))  # noqa: PTH100 - keeps symlinks, which are looked at next
    if not keep or not (first / MARKER).exists():
        return first
    for number in range(2, MOST_KEPT):
        path = first.with_name(f"{first.name}-{number}")
        if not path.exists():
            return path
    raise Trouble(f"{first} has {MOST_KEPT} successors", advice="remove some of them")


def _clear(place: DemoPlace) -> None:
    """Remove an earlier demo; nothing else."""
    if not any(place.root.iterdir()):
        return
    if not (place.root / MARKER).is_file():
        raise Trouble(
            f"{place.root} is there already, and no demo made it",
            advice="name a folder that does not exist yet: haikud demo --workdir DIR",
        )
    if (pid := daemon_pid(place.spool)) is not None:
        raise Trouble(
            f"a daemon (pid {pid}) runs on {place.spool.root}",
            advice=f"stop it first: haikud stop --now --spool {place.spool.root}; or use --keep",
        )
    shutil.rmtree(place.root)
