"""One daemon per spool: the second says who is there; the kernel frees the lock of a dead one."""

from __future__ import annotations

import json
import os
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


def test_a_lock_file_that_was_replaced_is_held_no_longer(layout: SpoolLayout):
    with hold_daemon_lock(layout) as lock:
        assert lock.holds()
        layout.lock_file.unlink()
        assert not lock.holds()
        with hold_daemon_lock(layout) as other:
            assert other.holds()
            assert not lock.holds()
    assert not lock.holds()
