"""A spare's cgroup: entered before its order comes, told to the runner and with its end, removed where it was not used."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.tiny_attempts import Yard, shown, until

from haikud.engine.attempts.clearing import clear_attempt
from haikud.sandbox.cgroups import (
    cgroup_name,
    find_cgroups,
    is_populated,
    make_cgroup,
    own_cgroup,
    remove_cgroup,
    remove_spare_cgroups,
    spare_cgroup_name,
)
from haikud.spool.claims import release_claim
from haikud.spool.layout import AttemptPaths


@pytest.fixture
def spool_id() -> str:
    """One that no other test has; skips where no cgroup can be made."""
    made = make_cgroup(f"haikud-probe-{os.getpid()}")
    if made is None:
        pytest.skip("no cgroup v2 that we may write")
    remove_cgroup(made)
    return str(uuid.uuid4())


def cgroups_of(spool_id: str) -> list[Path]:
    home = own_cgroup()
    assert home is not None
    return sorted(home.glob(cgroup_name(spool_id, "*")))


@pytest.fixture
async def yard(tmp_path: Path, spool_id: str) -> AsyncIterator[Yard]:
    async with Yard(tmp_path, forks=True, spares=2, spool_id=spool_id) as made:
        yield made
    await until(lambda: not any(is_populated(folder) for folder in cgroups_of(spool_id)))
    remove_spare_cgroups(spool_id)
    assert cgroups_of(spool_id) == []


def cgroup_of(pid: int | None) -> str:
    lines = shown("cgroup", pid).decode().splitlines()
    return next(line for line in lines if line.startswith("0::")).rpartition("/")[2]


async def test_each_waits_in_one_of_its_own_and_its_runner_stays_there(yard: Yard, spool_id: str):
    await until(lambda: all(is_populated(folder) for folder in cgroups_of(spool_id)))
    assert sorted(cgroup_of(pid) for pid in yard.server.spares) == [folder.name for folder in cgroups_of(spool_id)]
    handle = await yard.launcher.start(yard.order())
    place = cgroup_of(handle.pid)
    assert place in [folder.name for folder in cgroups_of(spool_id)]
    seen = await yard.seen()
    assert Path(seen["cgroup"]).name == place
    yard.let_end(0)
    end = await yard.ended()
    assert end.place is not None
    assert Path(end.place).name == place


async def test_who_is_left_there_is_ended_though_only_the_end_tells_the_place(yard: Yard, spool_id: str):
    await until(lambda: all(is_populated(folder) for folder in cgroups_of(spool_id)))
    handle = await yard.launcher.start(yard.order())
    await yard.seen()
    stray = os.fork()
    if stray == 0:  # shows nothing of the attempt, and nobody of it is its parent
        own = own_cgroup()
        try:
            (Path(str(own)) / cgroup_of(handle.pid) / "cgroup.procs").write_text(str(os.getpid()))
            os.execve("/bin/sleep", ["sleep", "600"], {})  # noqa: S606
        finally:
            os._exit(1)
    await until(lambda: b"sleep" in shown("cmdline", stray))
    yard.let_end(0)
    end = await yard.ended()
    paths = AttemptPaths(yard.folder)
    claim, ended = clear_attempt(paths, 0.1, cgroup_name(spool_id, "p.t.1"), place=end.place)
    assert [text for text in ended if "sleep 600" in text]
    await until(lambda: os.waitpid(stray, os.WNOHANG)[0] == stray)
    assert claim is not None
    release_claim(claim)


async def test_those_that_have_no_order_leave_nothing(yard: Yard, spool_id: str):
    pids = yard.server.spares
    for pid in pids:
        os.kill(pid, 9)
    await until(lambda: not set(yard.server.spares) & set(pids))
    await until(lambda: len(cgroups_of(spool_id)) <= 2)


async def test_a_daemon_that_ends_leaves_none_of_spares(yard: Yard, spool_id: str):
    await until(lambda: all(is_populated(folder) for folder in cgroups_of(spool_id)))
    assert len(cgroups_of(spool_id)) == 2
    yard.launcher.close()
    await until(lambda: cgroups_of(spool_id) == [])


async def test_a_sweep_takes_the_empty_ones_of_this_spool_alone(yard: Yard, spool_id: str):
    await until(lambda: all(is_populated(folder) for folder in cgroups_of(spool_id)))
    other_id = str(uuid.uuid4())
    empty, other = make_cgroup(spare_cgroup_name(spool_id, "0", 99)), make_cgroup(spare_cgroup_name(other_id, "0", 99))
    attempt = make_cgroup(cgroup_name(spool_id, "p.t.1"))
    assert empty is not None
    assert other is not None
    assert attempt is not None
    try:
        remove_spare_cgroups(spool_id)
        assert not empty.exists()
        assert other.exists()
        assert attempt.exists()
        assert len(cgroups_of(spool_id)) == 3
        name = cgroup_name(spool_id, "p.t.2")
        mine = next(folder for folder in cgroups_of(spool_id) if folder != attempt)
        assert find_cgroups(name, str(mine)) == [mine]
        assert find_cgroups(name, str(other)) == []
        assert find_cgroups(name, str(attempt)) == []
    finally:
        remove_cgroup(other)
        remove_cgroup(attempt)
