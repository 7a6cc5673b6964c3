"""What an attempt to break out is, and how it shows that it got through. Runs inside the walls: standard library only.

An attempt is a function of the `Place` that it finds itself in. That it ends is no proof of anything; each names one:
a secret of the place stands in what it returns (`steals`), a file outside is other than it was (`changes`), somebody
outside heard it (`reaches`), a process outside came to harm (`harms`), its own still runs (`survives`), or what it left
is run later (`plants`). Where nothing can be seen from outside, it says so itself: it returned something true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where the attempts find themselves, and what there is to be had. Nothing in it is secret."""

    token: str  # of this run, in every name outside the folder
    home: Path  # the user's
    spool: Path
    repository: Path
    worktree: Path
    out: Path
    task: Path  # plans/PLAN/TASK
    attempt: Path
    private_git: Path
    other_worktree: Path
    other_task: Path
    sockets: Path
    runtime: Path  # a folder of the user's with what services keep there
    ports: dict[str, int]
    pids: dict[str, int]
    values: dict[str, Any]

    @classmethod
    def of(cls, loaded: dict[str, Any]) -> Place:
        """From JSON."""
        plain = {"token", "ports", "pids", "values"}
        return cls(**{name: value if name in plain else Path(value) for name, value in loaded.items()})


@dataclass(frozen=True)
class Attempt:
    """One way to break out."""

    name: str
    row: str  # of the matrix: a name in haikud.sandbox.matrix.PROTECTIONS
    run: Callable[[Place], Any]
    steals: str | None = None  # which secret
    changes: str | None = None  # a path: home/..., spool/..., repository/..., or absolute; {token} is filled in
    reaches: str | None = None  # which listener
    harms: str | None = None  # which process
    survives: bool = False
    plants: bool = False  # shows when git is used there afterwards: see test_attempts.py
    held_from_root: bool = True  # False: the kernel asks nothing of root here
    root: bool = False  # nothing for other users
    doubtful: str = ""  # why it may fail without walls: on machines that lack something


ATTEMPTS: dict[str, Attempt] = {}
FRIENDLY: dict[str, Attempt] = {}  # no attempts to break out: what must get through in every mode


@dataclass
class Row:
    """Attempts of one row of the matrix are declared below it."""

    name: str
    made: dict[str, Attempt] = field(default_factory=lambda: ATTEMPTS)

    def __call__(self, **proof: Any) -> Callable[[Callable[[Place], Any]], Callable[[Place], Any]]:
        """Declare an attempt: its function's name is its own."""

        def declare(run: Callable[[Place], Any]) -> Callable[[Place], Any]:
            attempt = Attempt(run.__name__, self.name, run, **proof)
            if attempt.name in self.made:
                msg = f"two attempts are called {attempt.name}"
                raise ValueError(msg)
            self.made[attempt.name] = attempt
            return run

        return declare
