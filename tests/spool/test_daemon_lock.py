"""One daemon per spool: the second says who is there; the kernel frees the lock of a dead one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys

import pytest

from haikud import __version__
from haikud.spool.claims import own_identity
from haikud.spool.daemon_lock import SpoolIsTaken, daemon_pid, hold_daemon_lock
from haikud.spool.layout import SpoolLayout

HOLD = """
import sys
from pathlib import Path
from haikud.spool.daemon_lock import hold_daemon_lock
from haikud.spool.layout import SpoolLayout
lock = hold_daemon_lock(SpoolLayout(Path(sys.argv[1])))
print("held", flush=True)
input()
"""


def test_the_second_daemon_says_who_is_there_and_a_dead_one_holds_nothing(layout: SpoolLayout):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        assert daemon_pid(layout) == other.pid
        with pytest.raises(SpoolIsTaken, match=f"pid {other.pid} .*haikud stop") as caught:
            hold_daemon_lock(layout)
        assert caught.value.pid == other.pid
        other.kill()
    assert daemon_pid(layout) is None
    with hold_daemon_lock(layout):
        assert daemon_pid(layout) == os.getpid()


def test_the_content_names_the_holder_and_goes_with_it(layout: SpoolLayout):
    assert daemon_pid(layout) is None
    lock = hold_daemon_lock(layout)
    content = json.loads(layout.lock_file.read_bytes())
    assert content.keys() == {"pid", "start_time", "boot_id", "started_at", "version"}
    assert (content["pid"], content["version"]) == (os.getpid(), __version__)
    with pytest.raises(SpoolIsTaken):
        hold_daemon_lock(layout)
    lock.release()
    lock.release()
    assert daemon_pid(layout) is None
    hold_daemon_lock(layout).release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\0" * 50])
def test_a_lock_file_that_says_nothing_names_nobody(layout: SpoolLayout, content: bytes):
    layout.lock_file.write_bytes(content)
    assert daemon_pid(layout) is None


def test_a_pid_that_is_used_again_is_no_daemon(layout: SpoolLayout):
    stale = own_identity()._replace(start_time=1)
    layout.lock_file.write_bytes(json.dumps(stale._asdict()).encode())
    assert daemon_pid(layout) is None


def test_a_started_program_does_not_get_the_lock(layout: SpoolLayout):
    with hold_daemon_lock(layout):
        held = subprocess.check_output(["/bin/ls", "-l", "/proc/self/fd"], close_fds=False, text=True)
    assert str(layout.lock_file) not in held


def test_a_lock_file_that_was_removed_or_replaced_lets_no_second_daemon_in(layout: SpoolLayout):
    with hold_daemon_lock(layout) as lock:
        for replace in (lambda: None, layout.lock_file.touch, layout.lock_file.mkdir):
            layout.lock_file.unlink()
            replace()
            with pytest.raises(SpoolIsTaken) as caught:
                hold_daemon_lock(layout)
            assert caught.value.pid == os.getpid()
            assert lock.holds()
            assert daemon_pid(layout) == os.getpid()
    assert not lock.holds()
    hold_daemon_lock(layout).release()


def test_a_spool_that_was_replaced_is_held_no_longer(layout: SpoolLayout):
    with hold_daemon_lock(layout) as lock:
        layout.root.rename(layout.root.with_name("moved"))
        assert not lock.holds()
        layout.root.mkdir()
        assert not lock.holds()
        with hold_daemon_lock(layout) as other:
            assert other.holds()
            assert not lock.holds()


def test_whatever_the_lock_file_says_the_holder_is_named(layout: SpoolLayout):
    with hold_daemon_lock(layout) as lock:
        for content in (b"", b"nonsense", json.dumps(own_identity()._replace(pid=1)._asdict()).encode()):
            layout.lock_file.write_bytes(content)
            with pytest.raises(SpoolIsTaken) as caught:
                hold_daemon_lock(layout)
            assert caught.value.pid == os.getpid()
            assert lock.holds()
            assert daemon_pid(layout) == os.getpid()  # lookers are told the truth again


def test_every_path_to_the_spool_leads_to_the_same_lock(layout: SpoolLayout):
    layout.root.with_name("link").symlink_to(layout.root)
    with hold_daemon_lock(layout), pytest.raises(SpoolIsTaken):
        hold_daemon_lock(SpoolLayout(layout.root.with_name("link")))


def test_where_folders_cannot_be_locked_the_file_is(layout: SpoolLayout, monkeypatch: pytest.MonkeyPatch):
    real = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "as NFS has it")
        real(descriptor, how)

    monkeypatch.setattr("haikud.spool.daemon_lock.fcntl.flock", flock)
    with hold_daemon_lock(layout) as lock:
        assert lock.holds()
        with pytest.raises(SpoolIsTaken) as caught:
            hold_daemon_lock(layout)
        assert caught.value.pid == os.getpid()
        layout.lock_file.unlink()
        assert not lock.holds()
