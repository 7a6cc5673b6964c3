"""Cgroups of our own: made, entered, found again, killed and removed; and nobody else's touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.spool.another_user import as_another_user, needs_root
from tests.support.waiting import wait_until

from haikud.sandbox.cgroups import (
    cgroup_name,
    enter_cgroup,
    find_cgroups,
    is_populated,
    kill_cgroup,
    make_cgroup,
    processes_in,
    remove_cgroup,
)
from haikud.sandbox.process_table import look_at
from haikud.sandbox.trees import end_tree

ENTER = "import sys; from pathlib import Path; from haikud.sandbox.cgroups import enter_cgroup; "
HIDES = """
import os, subprocess, sys
from pathlib import Path
from haikud.sandbox.cgroups import enter_cgroup
assert enter_cgroup(Path(sys.argv[1]))
subprocess.Popen(["bash", "-c", "trap '' TERM; (env -i setsid sleep 600 &) ; touch hidden; while :; do sleep 0.02; done"])
"""


@pytest.fixture
def name(tmp_path: Path) -> str:
    return cgroup_name("01234567-89ab-cdef-0123", f"{os.getpid()}-{tmp_path.name}.1")


@pytest.fixture
def cgroup(name: str) -> Iterator[Path]:
    made = make_cgroup(name)
    if made is None:
        pytest.skip("no cgroup v2 that we may write")
    yield made
    kill_cgroup(made)
    wait_until(lambda: not is_populated(made))
    remove_cgroup(made)


def test_one_is_made_used_again_while_empty_and_found_by_name_and_by_record(cgroup: Path, name: str):
    assert make_cgroup(name) == cgroup
    assert find_cgroups(name, None) == [cgroup]
    assert find_cgroups(name, str(cgroup)) == [cgroup]
    assert not is_populated(cgroup)
    remove_cgroup(cgroup)
    assert find_cgroups(name, str(cgroup)) == []
    assert not is_populated(cgroup)


def test_what_an_agent_may_have_noted_leads_to_no_other_folder(cgroup: Path, name: str, tmp_path: Path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "link").symlink_to(cgroup.parent)
    home = str(cgroup.parent)
    for noted in (
        home,
        str(tmp_path / name),
        str(tmp_path / "link" / name),
        "",
        "\0",
        f"{home}/../{name}",
        "/x/" + name,
    ):
        assert find_cgroups(name, noted) == [cgroup]


def test_the_whole_tree_is_ended_by_it_where_nothing_else_ties_it_together(cgroup: Path, name: str, tmp_path: Path):
    subprocess.run([sys.executable, "-c", HIDES, str(cgroup)], check=True, cwd=tmp_path)
    wait_until((tmp_path / "hidden").exists)
    inside = wait_until(lambda: processes_in(cgroup) if len(processes_in(cgroup)) >= 2 else None)
    with pytest.raises(FileExistsError):
        make_cgroup(name)  # in use
    ended = end_tree(marker=None, pids=[], grace=0.2, cgroups=[cgroup])
    assert any("sleep 600" in text for text in ended)
    assert not is_populated(cgroup)
    assert all((seen := look_at(pid)) is None or not seen.alive for pid in inside)
    (cgroup / "made-by-an-agent").mkdir()
    remove_cgroup(cgroup)
    assert not cgroup.exists()


def test_we_never_kill_one_that_we_are_in(cgroup: Path):
    script = ENTER + (
        "from haikud.sandbox.cgroups import kill_cgroup; from haikud.sandbox.trees import end_tree; "
        "path = Path(sys.argv[1]); assert enter_cgroup(path); assert not kill_cgroup(path); "
        "print(Path('/proc/self/cgroup').read_text())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(cgroup)], check=True, capture_output=True, text=True)
    assert cgroup.name in done.stdout


def test_entering_where_we_may_not_is_said(tmp_path: Path):
    assert not enter_cgroup(tmp_path / "none")


@needs_root
def test_who_may_not_write_there_gets_none(name: str):
    def work() -> None:
        assert make_cgroup(name) is None

    as_another_user(Path("/"), work)
