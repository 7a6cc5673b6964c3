"""Trees of real processes: who belongs to one, and that ending it ends all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.processes import as_a_subreaper, members
from tests.support.waiting import wait_until

from haikud.sandbox.process_table import describe, look_at, own_children
from haikud.sandbox.trees import end_tree


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[str]:
    name = str(tmp_path / "attempt-1" / "out")
    yield name
    end_tree(marker=name, pids=[], grace=0)


def start(script: str, marker: str, folder: Path) -> subprocess.Popen[bytes]:
    env = {"PATH": os.environ["PATH"], "HAIKUD_OUT": marker}
    return subprocess.Popen(["bash", "-c", script], env=env, cwd=folder, start_new_session=True)


def test_members_are_found_by_their_marker_wherever_they_hang(tmp_path: Path, marker: str):
    process = start("(setsid sleep 600 &); exit 0", marker, tmp_path)
    process.wait()
    found = wait_until(lambda: [p for p in members(marker) if "sleep" in p.name()])
    assert len(found) == 1
    assert members(marker + "-other") == []
    assert [text.split(" ", 1)[1] for text in end_tree(marker=marker, pids=[], grace=1)] == ["sleep 600"]
    assert members(marker) == []


def below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_descendants_of_a_process_are_ended_with_it(tmp_path: Path, marker: str):
    process = start("bash -c 'sleep 600; true'; true", marker, tmp_path)
    children = wait_until(lambda: found if len(found := below(process)) == 2 else None)
    assert children is not None
    end_tree(marker=None, pids=[process.pid], grace=1)
    assert process.wait() == -15
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_the_callers_own_child_is_not_reaped_behind_its_back(tmp_path: Path, marker: str):
    process = start("trap 'exit 7' TERM; touch ready; while :; do sleep 0.01; done", marker, tmp_path)
    wait_until((tmp_path / "ready").exists)
    assert end_tree(marker=marker, pids=[process.pid], grace=5)
    assert process.wait() == 7


def test_what_ignores_term_is_killed_after_the_grace_and_a_stopped_one_sees_the_term(tmp_path: Path, marker: str):
    stubborn = start("trap '' TERM; touch a; while :; do sleep 600; done", marker, tmp_path)
    stopped = start(
        "trap ': > seen; exit 0' TERM; touch b; kill -STOP $$; while :; do sleep 0.01; done", marker, tmp_path
    )
    wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    wait_until(lambda: b" T " in Path(f"/proc/{stopped.pid}/stat").read_bytes())
    began = time.monotonic()
    end_tree(marker=None, pids=[stubborn.pid, stopped.pid], grace=1.5)
    assert time.monotonic() - began > 1.4
    assert (stubborn.wait(), stopped.wait()) == (-9, 0)
    assert (tmp_path / "seen").exists()


def test_spared_processes_and_ourselves_live_on(tmp_path: Path, marker: str):
    spared = start("exec sleep 600", marker, tmp_path)
    other = start("exec sleep 600", marker, tmp_path)
    wait_until(lambda: len(members(marker)) == 2)
    ended = end_tree(marker=marker, pids=[os.getpid()], grace=0.5, spare={spared.pid})
    assert ended == [f"{other.pid} sleep 600"]
    assert spared.poll() is None
    spared.kill()
    spared.wait()
    other.wait()


def test_a_process_that_clears_its_environment_is_ended_with_its_parents(tmp_path: Path, marker: str):
    process = start("env -i setsid sleep 604 & sleep 605", marker, tmp_path)
    wait_until(lambda: any("604" in " ".join(p.cmdline()) for p in below(process)))
    ended = end_tree(marker=marker, pids=[], grace=2)
    process.wait()
    assert any("sleep 604" in text for text in ended)


def test_an_empty_tree_is_proven_at_once(marker: str):
    began = time.monotonic()
    assert end_tree(marker=marker, pids=[2**22 + 1], grace=10) == []
    assert time.monotonic() - began < 2


def test_a_description_has_no_control_characters_and_a_look_tells_processes_apart():
    process = subprocess.Popen(["sleep", "600"])
    fake = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "\x1b[31mred\nline"])
    try:
        wait_until(lambda: "red" in describe(fake.pid))
        assert describe(fake.pid).isprintable()
        seen = look_at(process.pid)
        assert seen is not None
        assert (seen.pid, seen.parent, seen.alive) == (process.pid, os.getpid(), True)
        assert {process.pid, fake.pid} <= own_children()
    finally:
        for each in (process, fake):
            each.kill()
        wait_until(lambda: (gone := look_at(process.pid)) is not None and not gone.alive)
        for each in (process, fake):
            each.wait()
    assert look_at(process.pid) is None


HIDDEN = r"""
import os, sys
from pathlib import Path
from haikud.sandbox.commands import run_command
from haikud.sandbox.prctl import become_subreaper, make_undumpable
os.setgroups([]); os.setgid(65534); os.setuid(65534)
make_undumpable(); become_subreaper()
out = []
script = "tr '\\0' '\\n' < /proc/$PPID/environ; echo here; tr '\\0' '\\n' < /proc/$$/environ"
ended = run_command(["bash", "-c", script], cwd="/", env={"PATH": os.environ["PATH"], "MINE": "1"}, timeout=20, grace=1,
                    on_output=out.append)
text = b"".join(out).decode()
before, after = text.split("here")
assert ended.exit_code == 0, (ended, text)
assert "ermission denied" in before, text
assert "A_SECRET" not in text, text
assert "MINE=1" in after, text
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
def test_an_undumpable_process_hides_its_environment_from_its_own_user_and_can_start_commands(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN],
        env={**os.environ, "A_SECRET": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr


RELAY = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
for _ in range(int(sys.argv[1])):
    if os.fork():
        os._exit(0)
    time.sleep(0.003)
os.execve("/bin/sleep", [sys.argv[2], "600"], {})
"""


def test_who_forks_and_ends_faster_than_we_look_is_caught_by_a_subreaper(tmp_path: Path):
    name = f"relay-of-{os.getpid()}"
    others = own_children()
    with as_a_subreaper():
        process = subprocess.Popen([sys.executable, "-c", RELAY, "200", name], env={}, start_new_session=True)
        process.wait()
        end_tree(marker=None, pids=[process.pid], grace=0, orphans_but=others)
        assert own_children() == others
    with pytest.raises(AssertionError):
        wait_until(
            lambda: [p for p in psutil.process_iter(["cmdline"]) if name in (p.info["cmdline"] or ())], seconds=1.5
        )
