"""`haikud cancel`, `retry`, `pause`, `resume` and `stop`: an empty file, and nothing for an ID that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interfaces.conftest import FakeSpool
from tests.support.waiting import wait_until

from haikud.spool.daemon_lock import hold_daemon_lock


def asked(spool: FakeSpool) -> list[str]:
    names = sorted(path.name for path in spool.layout.control.iterdir())
    assert all((spool.layout.control / name).read_bytes() == b"" for name in names)
    return names


@pytest.mark.parametrize(
    ("verb", "state"), [("cancel", "running"), ("retry", "failed"), ("pause", "queued"), ("resume", "paused")]
)
def test_a_command_is_an_empty_file(spool: FakeSpool, daemon: int, verb: str, state: str):
    spool.admit("p", state, state)
    done = spool.run(verb, "p.t1")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"asked: {verb} p.t1\n", "")
    assert spool.run(verb, "p").exit_code == 0
    assert asked(spool) == [f"p.{verb}", f"p.t1.{verb}"]


def test_all_is_the_queue_for_pause_and_resume_only(spool: FakeSpool, daemon: int):
    assert spool.run("pause", "all").exit_code == 0
    assert spool.run("resume", "all").exit_code == 0
    assert asked(spool) == ["all.pause", "all.resume"]
    for verb in ("cancel", "retry"):
        assert spool.run(verb, "all").exit_code == 2
    assert asked(spool) == ["all.pause", "all.resume"]


def test_an_id_that_is_not_there_is_an_error(spool: FakeSpool):
    spool.admit("p", "queued", "queued")
    assert "has no task or plan q" in spool.run("cancel", "q").stderr
    assert "has no task or plan p.t9" in spool.run("cancel", "p.t9").stderr
    (spool.layout.incoming / "new.json").write_text("{}")
    assert "not admitted yet" in spool.run("cancel", "new").stderr
    assert asked(spool) == []


def test_what_looks_useless_is_asked_all_the_same_with_a_warning(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    done = spool.run("retry", "x")
    assert done.exit_code == 0
    assert "x is running now; retry has an effect only on what is failed, cancelled or deferred" in done.stderr
    assert asked(spool) == ["x.retry"]


def test_a_pause_that_an_agent_has_not_come_to_yet_is_taken_back_without_a_warning(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    assert spool.run("resume", "x").stderr == ""
    assert asked(spool) == ["x.resume"]


def test_without_a_daemon_it_says_that_the_file_waits(spool: FakeSpool):
    spool.admit("x", "running")
    assert "control/x.cancel lies there until one does" in spool.run("cancel", "x").stderr


def test_wait_returns_when_it_is_done(spool: FakeSpool, daemon: int):
    spool.admit("x", "queued")
    with spool.start("cancel", "x", "--wait") as process:
        path = wait_until_dropped(spool.layout.control / "x.cancel")
        taken = path.rename(path.with_name(".taken-0123456789abcdef-x.cancel"))
        spool.move("x", "cancelled")
        assert process.poll() is None
        taken.unlink()
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "asked: cancel x\ndone: cancel x\n")


def test_wait_says_why_the_daemon_would_not(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    with spool.start("retry", "x", "--wait") as process:
        wait_until_dropped(spool.layout.control / "x.retry")
        reason = {"name": "x.retry", "stored_as": "x.retry", "reason": "x is running"}
        spool.write(spool.layout.rejected / "x.retry.reason.json", reason)
        (spool.layout.control / "x.retry").unlink()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "the daemon did not do it: x is running" in err


def test_a_refusal_that_comes_at_once_is_told_without_wait(spool: FakeSpool, daemon: int):
    spool.admit("x", "failed")
    with spool.start("retry", "x") as process:
        wait_until_dropped(spool.layout.control / "x.retry")
        reason = {"name": "x.retry", "stored_as": "x.retry", "reason": "x depends on y; retry the whole plan"}
        spool.write(spool.layout.rejected / "x.retry.reason.json", reason)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "asked: retry x\n")
    assert "the daemon did not do it: x depends on y; retry the whole plan" in err


def test_wait_gives_up_after_its_time(spool: FakeSpool, daemon: int):
    spool.admit("x", "running")
    assert spool.run("cancel", "x", "--wait", "--timeout", "0.1").exit_code == 4


def test_stop_without_a_daemon_says_so_and_drops_nothing(spool: FakeSpool):
    done = spool.run("stop")
    assert done.exit_code == 0
    assert "there is nothing to stop" in done.stderr
    assert asked(spool) == []


@pytest.mark.parametrize(("options", "name"), [([], "all.stop"), (["--now"], "all.stop-now")])
def test_stop_is_an_empty_file_too(spool: FakeSpool, daemon: int, options: list[str], name: str):
    done = spool.run("stop", *options)
    assert done.exit_code == 0
    assert f"asked the daemon (pid {daemon}) to stop" in done.stdout
    assert asked(spool) == [name]


def test_a_stop_that_agents_hold_up_says_how_to_end_them(spool: FakeSpool, daemon: int):
    done = spool.run("stop", "--wait", "--timeout", "0.1")
    assert done.exit_code == 4
    assert "`haikud stop --now` ends them too" in done.stderr


def test_stop_can_wait_for_the_daemons_end(spool: FakeSpool):
    with hold_daemon_lock(spool.layout) as lock, spool.start("stop", "--wait") as process:
        wait_until_dropped(spool.layout.control / "all.stop")
        assert process.poll() is None
        lock.release()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.endswith("the daemon has ended\n")


def wait_until_dropped(path: Path) -> Path:
    wait_until(path.exists, what=f"{path.name} to be dropped")
    return path
