"""`out/keep` goes on from attempt to attempt, and nothing that an agent puts in its place is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.support.attempts import Bench

from haikud.agent.attempt import Attempt
from haikud.agent.kept_folder import carry_on_kept_folder
from haikud.spool.layout import TaskPaths

WORK = 'mkdir -p "$HAIKUD_OUT/keep"; echo "$HAIKUD_ATTEMPT" >> "$HAIKUD_OUT/keep/heard"\n'


def test_a_command_agent_finds_what_it_kept(bench: Bench):
    for _ in range(2):
        bench.order(WORK)
        assert bench.run().warnings == []
    assert (bench.paths.out / "keep" / "heard").read_text() == "1\n2\n"
    assert not (bench.spool.task(bench.ref).attempt(1).out / "keep").exists()
    assert "attempt 1's out/keep was taken over" in bench.log()


class Row:
    """A task's attempts, in files alone; every one has an order and an `out/`."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.task: TaskPaths = bench.spool.task(bench.ref)

    def kept(self, number: int) -> Path:
        return self.task.attempt(number).out / "keep"

    def begin(self, *, keeps: bool = False, fresh: bool = False) -> list[str]:
        """The next attempt begins; its warnings. Later it `keeps` something."""
        paths = self.bench.order("true", fresh=fresh)
        paths.out.mkdir()
        warnings: list[str] = []
        attempt = SimpleNamespace(
            spec=SimpleNamespace(attempt=self.bench.attempt, fresh=fresh),
            paths=paths,
            task_paths=self.task,
            warn=warnings.append,
            log=SimpleNamespace(line=lambda _text: None),
        )
        carry_on_kept_folder(cast("Attempt", attempt))
        if keeps:
            (paths.out / "keep").mkdir()
            (paths.out / "keep" / "heard").write_text(f"{self.bench.attempt}")
        return warnings


@pytest.fixture
def row(bench: Bench) -> Row:
    return Row(bench)


def test_the_newest_goes_on_over_attempts_that_have_none(row: Row):
    row.begin(keeps=True)
    assert row.begin() == []
    assert (row.kept(2) / "heard").read_text() == "1"
    (row.kept(2)).rename(row.kept(1))  # as if attempt 2's runner had died before it took it over
    assert row.begin() == []
    assert (row.kept(3) / "heard").read_text() == "1"


def test_who_begins_afresh_gets_none_and_neither_do_later_ones(row: Row):
    row.begin(keeps=True)
    assert row.begin(fresh=True) == []
    assert row.begin() == []
    assert not row.kept(2).exists()
    assert not row.kept(3).exists()
    assert row.kept(1).exists()


def test_what_a_fresh_attempt_keeps_goes_on(row: Row):
    row.begin(keeps=True)
    row.begin(fresh=True, keeps=True)
    row.begin()
    assert (row.kept(3) / "heard").read_text() == "2"


def _link(keep: Path, elsewhere: Path) -> None:
    keep.symlink_to(elsewhere)


def _file(keep: Path, _elsewhere: Path) -> None:
    keep.touch()


def _fifo(keep: Path, _elsewhere: Path) -> None:
    os.mkfifo(keep)


def _linked_out(keep: Path, elsewhere: Path) -> None:
    keep.parent.rmdir()
    keep.parent.symlink_to(elsewhere)


@pytest.mark.parametrize("put", [_link, _file, _fifo, _linked_out])
def test_what_is_no_folder_is_left_where_it_is(row: Row, tmp_path: Path, put: Callable[[Path, Path], None]):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "keep").mkdir(parents=True)
    row.begin()
    put(row.kept(1), elsewhere)
    (warning,) = row.begin()
    assert warning.startswith("attempt 1's out/keep was not taken over: ")
    assert not os.path.lexists(row.kept(2))
    assert (elsewhere / "keep").is_dir()
