"""A small kill storm, and that the observers can see what must not be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.crash.observer import Observer, look
from tests.crash.storm import Size, run_storm
from tests.crash.storm_stage import AGENT
from tests.support.waiting import wait_until


@pytest.mark.timeout(300)
def test_a_small_storm_loses_nothing_and_does_nothing_twice(tmp_path: Path):
    verdict = run_storm(Size(plans=3, tasks=12, daemon_kills=4, runner_kills=4), 11, tmp_path / "storm", quiet=True)
    assert verdict.violations == []
    assert verdict.daemon_kills >= 4
    assert verdict.runner_kills >= 4
    assert sum(verdict.outcomes.values()) == 12
    assert verdict.observed["runners"] >= 12


def attempt_process(spool: Path, number: int, *, title: str = "") -> subprocess.Popen[bytes]:
    """A process that looks as if it belonged to that attempt of observed.a."""
    out = spool / "plans" / "observed" / "a" / f"attempt-{number}" / "out"
    code = "import setproctitle, sys, time; sys.argv[1] and setproctitle.setproctitle(sys.argv[1]); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, title], env={**os.environ, "HAIKUD_OUT": str(out), "SPT_NOENV": "1"}
    )
    wait_until(lambda: title.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes()[: len(title) + 1])
    return process


@pytest.mark.parametrize(
    ("second", "title", "said"),
    [
        (1, "haikud-agent observed.a", {"two runners of observed.a"}),
        (2, "haikud-agent observed.a", {"two runners of observed.a", "processes of attempts 1 and 2 of observed.a"}),
        (2, "", {"processes of attempts 1 and 2 of observed.a"}),
        (1, "", set()),
    ],
)
def test_the_observer_sees_two_of_one_task(tmp_path: Path, second: int, title: str, said: set[str]):
    observer = Observer(tmp_path, "observed", tmp_path / "violations")
    first = attempt_process(tmp_path, 1, title="haikud-agent observed.a")
    other = attempt_process(tmp_path, second, title=title)
    try:
        observer.sample()
        observer.sample()
    finally:
        for process in (first, other):
            process.kill()
            process.wait()
    found = [text for text in observer.finish().violations if "no claim" not in text]
    assert len(found) == len(said)
    assert all(any(text.startswith(start) for text in found) for start in said)


def breaches(tmp_path: Path, holder: str) -> str:
    """What the storm's agent says when it finds its task's place held like that."""
    for name in ("presence", "beats", "once"):
        (tmp_path / name).mkdir()
    (tmp_path / "presence" / "t.ax0").symlink_to(holder)
    agent = subprocess.Popen(
        ["bash", str(AGENT), "works"],
        env={
            "PATH": os.environ["PATH"],
            "STORM": str(tmp_path),
            "HAIKUD_REF": "t.ax0",
            "TASK_ID": "ax0",
            "HAIKUD_ATTEMPT": "2",
        },
        stdout=subprocess.DEVNULL,
    )
    agent.wait(timeout=20)
    # One process beats. While it begins, its `<(:)` is a second one of the same name.
    wait_until(lambda: "beat 2" in read(tmp_path / "beats" / "t.ax0").decode(), what="the agent's child to beat")
    wait_until(lambda: len(beating(tmp_path)) == 1, what="one process to beat")
    for pid in beating(tmp_path):
        os.kill(pid, signal.SIGKILL)
    return read(tmp_path / "violations").decode()


def beating(place: Path) -> list[int]:
    """The processes that name this place in their command line."""
    found = Path("/proc").glob("[0-9]*/cmdline")
    return [int(path.parent.name) for path in found if str(place).encode() in read(path)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_agent_tells_of_another_one_that_lives(tmp_path: Path):
    seen = look(os.getpid())
    assert seen is not None
    said = breaches(tmp_path, f"{seen.pid}:{seen.started}:1")
    assert said.startswith("agent: t.ax0: agent of attempt 1 ")


def test_an_agent_takes_the_place_of_one_that_died(tmp_path: Path):
    assert not breaches(tmp_path, f"{os.getpid()}:1:1")
