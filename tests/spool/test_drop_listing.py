"""Many files at once, and producers that race with the taking: bounded, in order, none lost, none twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from haikud.spool.drops import MOST_PER_SCAN, DropFault, DropFolder, Taken
from haikud.spool.taken import new_token, taken_at

AT_ONCE = 0.0


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


def drop_folder(path: Path, settle: float = AT_ONCE) -> DropFolder:
    return DropFolder(path, max_bytes=1 << 20, settle_seconds=settle)


def only(taken: list[Taken]) -> Taken:
    (one,) = taken
    return one


def test_a_long_listing_is_worked_through_and_what_must_wait_is_looked_at_again(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
):
    now = 1000.0
    monkeypatch.setattr("haikud.spool.drops.time", SimpleNamespace(monotonic=lambda: now))
    (inbox / "a.json").touch()
    os.utime(inbox / "a.json", (0, 0))
    for number in range(MOST_PER_SCAN * 2):
        (inbox / f"{number}.yaml").write_bytes(b"a: 1")
    drops = drop_folder(inbox, 0.2)
    first = drops.scan()
    (inbox / "new.yaml").write_bytes(b"a: 1")
    (inbox / "199.yaml").unlink()
    second, third = drops.scan(), drops.scan()
    assert [len(scan.ready) for scan in (first, second, third)] == [MOST_PER_SCAN, MOST_PER_SCAN - 1, 1]
    assert (first.wait_seconds, third.ready[0].name) == (0.0, "new.yaml")
    assert second.wait_seconds is not None  # for the empty one of the first look
    now += 0.2
    assert only(drops.scan().ready).fault is DropFault.EMPTY


def test_what_was_left_comes_back_in_parts_that_memory_can_hold(inbox: Path):
    for number in range(MOST_PER_SCAN + 7):
        (inbox / f".taken-{number:016x}-a.json").write_bytes(b"{}")
    drops = drop_folder(inbox)
    assert len(drops.taken_tokens()) == MOST_PER_SCAN + 7
    first = drops.left_over()
    second = drops.left_over({taken.token for taken in first})
    assert (len(first), len(second)) == (MOST_PER_SCAN, 7)
    assert drops.left_over({taken.token for taken in (*first, *second)}) == []


def test_a_token_names_one_drop_and_says_when():
    tokens = [new_token() for _ in range(20_000)]
    assert len(set(tokens)) == len(tokens)
    assert all(len(token) == 16 for token in tokens)
    assert abs(taken_at(tokens[-1]) - time.time()) < 5


def test_a_producer_that_replaces_its_file_at_the_moment_of_taking_loses_none(inbox: Path):
    """Each new version is renamed over the name, or beside it where that was taken: one of the two has every number."""
    program = (
        "import os, sys\n"
        "for n in range(1000):\n"
        "    open('.new', 'w').write(str(n))\n"
        "    os.rename('.new', 'plan.yaml')\n"
        "print(n, flush=True)\n"
    )
    drops = drop_folder(inbox, AT_ONCE)
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", program], cwd=inbox, stdout=subprocess.DEVNULL) as producer:
        while producer.poll() is None:
            for taken in drops.scan().ready:
                assert taken.data is not None
                seen.append(int(taken.data))
                drops.finish(taken)
    seen += [int(taken.data or b"-1") for _ in range(3) for taken in drops.scan().ready]
    assert len(seen) == len(set(seen)), "one was taken twice"
    assert seen[-1] == max(seen) == 999
    assert len(seen) > 10, "the race was not run"
