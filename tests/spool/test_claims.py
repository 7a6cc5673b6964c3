"""Claims: one holder, freed by the kernel; who the runner is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from haikud import __version__
from haikud.contracts.attempt import RunnerIdentity
from haikud.spool.claims import (
    Identity,
    boot_id,
    is_alive,
    own_identity,
    process_start_time,
    read_runner_age,
    read_runner_identity,
    release_claim,
    take_claim,
    write_runner_identity,
)
from haikud.spool.models import read_model


def test_one_holder_at_a_time(tmp_path: Path):
    first = take_claim(tmp_path / "claim")
    assert first is not None
    assert not os.get_inheritable(first)
    assert take_claim(tmp_path / "claim") is None
    release_claim(first)
    second = take_claim(tmp_path / "claim")
    assert second is not None
    release_claim(second)


def test_a_claim_handed_to_a_child_lives_and_dies_with_it(tmp_path: Path):
    path = tmp_path / "claim"
    claim = take_claim(path)
    assert claim is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[claim]) as child:
        release_claim(claim)
        assert take_claim(path) is None
        child.kill()
        child.wait()
        again = take_claim(path)
        assert again is not None
        release_claim(again)


def test_the_runners_record_is_the_contracts(tmp_path: Path):
    path = tmp_path / "runner.json"
    assert read_runner_identity(path) is None
    write_runner_identity(path, __version__)
    identity = read_runner_identity(path)
    assert identity == own_identity()
    record = read_model(path, RunnerIdentity)
    assert record is not None
    assert record.began is not None
    assert record == RunnerIdentity(
        pid=os.getpid(),
        start_time=identity.start_time,
        boot_id=boot_id(),
        version=__version__,
        began=record.began,
    )
    path.write_bytes(b'{"pid": 1')
    assert read_runner_identity(path) is None


def test_a_pid_alone_is_not_trusted():
    me = own_identity()
    assert is_alive(me)
    assert not is_alive(me._replace(start_time=me.start_time + 1))
    assert not is_alive(me._replace(boot_id="another boot"))
    assert not is_alive(Identity(0, 0, boot_id()))


def test_the_dead_and_those_that_wait_to_be_reaped_are_not_alive():
    with subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE) as child:
        start_time = process_start_time(child.pid)
        assert start_time is not None
        identity = Identity(child.pid, start_time, boot_id())
        assert is_alive(identity)
        child.kill()
        wait_until(lambda: not is_alive(identity))
        assert process_start_time(child.pid) is not None  # not reaped yet
        child.wait()
    assert process_start_time(identity.pid) is None
    assert not is_alive(identity)


def test_a_process_name_with_brackets_and_blanks_is_read_right(tmp_path: Path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as child:
        assert abs((process_start_time(child.pid) or 0) - own_identity().start_time) >= 0
        assert (process_start_time(child.pid) or 0) >= own_identity().start_time
        child.kill()


def test_a_runner_is_as_old_as_its_attempt_however_long_before_its_process_was_forked(tmp_path: Path):
    path = tmp_path / "runner.json"
    write_runner_identity(path, __version__)
    time.sleep(0.02)
    age = read_runner_age(path, os.getpid())
    assert age is not None
    assert 0.02 <= age < 5
    started = process_start_time(os.getpid())
    assert started is not None
    whole = time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    for began in (-1.0, 1e12, float("nan"), "soon", None):  # of an agent that would rather be younger, or older
        record = {"pid": os.getpid(), "began": began}
        path.write_text(json.dumps(record))
        assert read_runner_age(path, os.getpid()) == pytest.approx(whole, abs=1)
    path.unlink()
    assert read_runner_age(path, os.getpid()) == pytest.approx(whole, abs=1)
    assert read_runner_age(path, 2**22) is None
