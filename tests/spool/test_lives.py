"""Who lives, who is gone, and what cannot be told: a look that the machine refuses finds nobody dead."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from haikud.spool.claims import (
    Identity,
    Life,
    boot_id,
    is_alive,
    look_at_claim,
    look_at_identity,
    names_attempt,
    own_identity,
    parse_identity,
    process_start_time,
    read_runner_cgroup,
    release_claim,
    runner_title,
    take_claim,
    watch_identity,
    write_runner_identity,
)


@pytest.fixture
def other() -> Iterator[Identity]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield Identity(child.pid, process_start_time(child.pid) or 0, boot_id())
        child.kill()


def refused(number: int) -> Callable[..., int]:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_living_process_is_watched_and_one_with_another_start_or_boot_is_gone(other: Identity):
    life, pidfd = watch_identity(other)
    assert life is Life.ALIVE
    assert pidfd is not None
    os.close(pidfd)
    for stranger in (other._replace(start_time=other.start_time - 1), other._replace(boot_id="another")):
        assert watch_identity(stranger) == (Life.GONE, None)
    os.kill(other.pid, 9)
    wait_until(lambda: watch_identity(other)[0] is Life.GONE)
    assert look_at_identity(other) is Life.GONE


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES])
def test_what_the_machine_refuses_to_say_is_unknown(other: Identity, monkeypatch: pytest.MonkeyPatch, number: int):
    with monkeypatch.context() as patched:
        patched.setattr(os, "pidfd_open", refused(number))
        assert watch_identity(other) == (Life.UNKNOWN, None)
    with monkeypatch.context() as patched:
        patched.setattr("haikud.spool.claims._read_proc", refused(number))
        assert look_at_identity(other) is Life.UNKNOWN
        assert watch_identity(other) == (Life.UNKNOWN, None)
        assert not is_alive(other)  # not known to live


def test_a_process_that_proc_hides_is_unknown_while_its_pidfd_lives(other: Identity, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haikud.spool.claims._stat_fields", lambda _pid: None)
    monkeypatch.setattr(os.path, "exists", lambda _path: False)
    assert watch_identity(other) == (Life.UNKNOWN, None)


def test_a_claim_is_held_free_not_there_or_not_to_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "claim"
    held = take_claim(path)
    assert held is not None
    assert look_at_claim(path) is Life.ALIVE
    release_claim(held)
    assert look_at_claim(path) is Life.GONE
    assert look_at_claim(tmp_path / "none" / "claim") is Life.GONE
    path.unlink()
    path.mkdir()
    assert look_at_claim(path) is Life.GONE
    path.rmdir()
    path.symlink_to("elsewhere")
    assert look_at_claim(path) is Life.GONE
    monkeypatch.setattr(os, "open", refused(errno.EMFILE))
    assert look_at_claim(path) is Life.UNKNOWN


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 50_000, '{"pid": 1e999, "start_time": 1, "boot_id": ""}', '{"pid": 1, "start_time": 1}']
    + [json.dumps({"pid": pid, "start_time": 1, "boot_id": ""}) for pid in (-1, 0, 2**22 + 1, 2**40, None, "x")],
)
def test_a_record_that_names_no_process_names_none(text: str, tmp_path: Path):
    assert parse_identity(text.encode()) is None
    (tmp_path / "runner.json").write_text(text)
    assert read_runner_cgroup(tmp_path / "runner.json") is None


def test_the_record_names_the_cgroup_where_there_is_one(tmp_path: Path):
    path = tmp_path / "runner.json"
    write_runner_identity(path, "1")
    assert read_runner_cgroup(path) is None
    write_runner_identity(path, "1", "/sys/fs/cgroup/x")
    assert read_runner_cgroup(path) == "/sys/fs/cgroup/x"
    assert parse_identity(path.read_bytes()) == own_identity()


def test_a_command_line_names_its_attempt_and_no_other(tmp_path: Path):
    folder = tmp_path / "plans" / "a b" / "attempt-1"
    titled = runner_title("p.t", folder).encode() + b"\0\0\0"
    started = b"\0".join([b"python", b"-m", b"haikud.agent", b"--attempt", os.fsencode(folder), b"p.t", b""])
    for line in (titled, started):
        assert names_attempt(line, folder)
        assert not names_attempt(line, folder.with_name("attempt-2"))
        assert not names_attempt(line, folder.with_name("attempt-11"))
    assert not names_attempt(b"", folder)
    assert not names_attempt(b"tail\0-f\0" + os.fsencode(folder) + b"\0", folder)
