"""run_command with real processes: output, limits, and that nothing is left afterwards."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import as_a_subreaper, at_work_in, members
from tests.support.waiting import wait_until

from haikud.sandbox.commands import CannotStart, Ended, run_command


def run(script: str, folder: Path, *, timeout: float = 20.0, grace: float = 1.0, **more: Any) -> tuple[Ended, bytes]:
    output: list[bytes] = []
    env = {"PATH": os.environ["PATH"], "HAIKUD_OUT": str(folder / "out")}
    options = {"on_output": output.append, **more}
    ended = run_command(["bash", "-c", script], cwd=folder, env=env, timeout=timeout, grace=grace, **options)
    return ended, b"".join(output)


def is_set(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def nothing_left(folder: Path) -> bool:
    return not members(str(folder / "out"))


def test_output_of_both_streams_comes_in_order_and_the_exit_code_is_the_commands(tmp_path: Path):
    ended, output = run("echo one; echo two >&2; echo three; exit 3", tmp_path)
    assert output == b"one\ntwo\nthree\n"
    assert (ended.exit_code, ended.timed_out, ended.stopped, ended.left_running) == (3, False, False, [])


def test_much_output_comes_whole(tmp_path: Path):
    ended, output = run("head -c 3000000 /dev/zero", tmp_path)
    assert len(output) == 3_000_000
    assert ended.exit_code == 0


def test_the_environment_is_exactly_the_given_one_and_stdin_is_empty(tmp_path: Path):
    _, output = run("cat; env | cut -d= -f1 | sort | tr '\\n' ' '", tmp_path)
    assert set(output.decode().split()) - {"PWD", "SHLVL", "_", "OLDPWD"} == {"HAIKUD_OUT", "PATH"}


def test_a_signal_shows_as_a_negative_exit_code(tmp_path: Path):
    ended, _ = run("kill -SEGV $$", tmp_path)
    assert ended.exit_code == -11


def test_what_cannot_start_says_why(tmp_path: Path):
    for argv, cwd in ((["/no/such/program"], tmp_path), (["true"], tmp_path / "nowhere"), (["a\0b"], tmp_path)):
        with pytest.raises(CannotStart, match="cannot start"):
            run_command(argv, cwd=cwd, env={"PATH": "/bin"}, timeout=1, grace=0, on_output=print)


def test_children_left_in_the_background_neither_hold_the_reads_nor_outlive_the_command(tmp_path: Path):
    began = time.monotonic()
    ended, output = run("sleep 600 & setsid sleep 601 & (setsid sleep 602 &) ; echo done", tmp_path)
    assert output == b"done\n"
    assert time.monotonic() - began < 10
    assert ended.exit_code == 0
    assert len(ended.left_running) == 3
    assert all(text.split(" ", 1)[0].isdigit() for text in ended.left_running)
    assert nothing_left(tmp_path)


def test_at_the_time_limit_the_whole_tree_is_ended_even_what_ignores_term(tmp_path: Path):
    script = "trap '' TERM; (trap '' TERM; setsid sleep 600 &); while :; do sleep 600; done"
    ended, _ = run(script, tmp_path, timeout=0.3, grace=0.3)
    assert (ended.exit_code, ended.timed_out, ended.left_running) == (None, True, [])
    assert ended.seconds < 5
    assert nothing_left(tmp_path)


def test_term_comes_before_kill_and_what_is_printed_then_is_still_delivered(tmp_path: Path):
    script = "trap 'head -c 300000 /dev/zero; echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    ready = threading.Event()
    output: list[bytes] = []

    def take(data: bytes) -> None:
        output.append(data)
        ready.set()

    ended, _ = run(script, tmp_path, on_output=take, stop=ready.is_set, grace=10.0)
    assert (ended.exit_code, ended.stopped) == (None, True)
    assert ended.seconds < 5
    assert b"".join(output).endswith(b"bye\n")


def test_stop_is_noticed_at_once_and_before_the_start(tmp_path: Path):
    ended, _ = run("sleep 600", tmp_path, stop=lambda: (tmp_path / "stop").exists() or (tmp_path / "stop").touch())
    assert ended.stopped
    assert ended.seconds < 60
    ended, _ = run("touch started", tmp_path, stop=lambda: True)
    assert ended.stopped
    assert not (tmp_path / "started").exists()


def test_what_wakes_it_has_stop_asked_at_once_and_otherwise_eight_times_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wake, asked = os.eventfd(0, os.EFD_CLOEXEC), [0.0]
    try:
        quiet, _ = run("exec sleep 20", tmp_path, timeout=1.0, stop=lambda: bool(asked.append(0.0)), wake=wake)
        assert quiet.timed_out
        assert len(asked) <= 12
        monkeypatch.setattr("haikud.sandbox.commands._WOKEN_TICK", 60.0)
        threading.Timer(0.2, os.eventfd_write, [wake, 1]).start()
        woken, _ = run(
            "exec sleep 20", tmp_path, stop=lambda: bool(os.read(wake, 8)) if is_set(wake) else False, wake=wake
        )
    finally:
        os.close(wake)
    assert woken.stopped
    assert woken.seconds < 15


def test_a_stop_that_says_no_to_what_woke_it_is_asked_no_more_often_than_ever(tmp_path: Path):
    wake, asked = os.eventfd(1, os.EFD_CLOEXEC), []
    try:
        ended, _ = run("exec sleep 20", tmp_path, timeout=0.5, stop=lambda: bool(asked.append(1)), wake=wake)
    finally:
        os.close(wake)
    assert ended.timed_out
    assert len(asked) <= 14


def test_processes_that_keep_forking_while_they_are_killed_are_all_ended(tmp_path: Path):
    # Each one starts its successor in a session of its own and exits: there is never the same pid for long.
    (tmp_path / "next.sh").write_text("trap '' TERM\nsleep 0.02\nsetsid bash next.sh &\n")
    script = "trap '' TERM; for i in 1 2 3 4; do bash next.sh & done; while :; do sleep 0.01; done"
    try:
        with as_a_subreaper():
            ended, _ = run(script, tmp_path, timeout=0.4, grace=0.2)
        assert ended.timed_out
        assert at_work_in(tmp_path) == set()
    finally:
        (tmp_path / "next.sh").unlink()  # had one slipped through, it would go on for ever


def test_a_caller_that_fails_while_taking_output_leaves_nothing_running(tmp_path: Path):
    def fail(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run("sleep 600 & echo x; sleep 600", tmp_path, on_output=fail, grace=0.2)
    assert nothing_left(tmp_path)


def test_a_descriptor_does_not_leak_into_the_command(tmp_path: Path):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        _, output = run("ls /proc/self/fd | wc -l", tmp_path)
    finally:
        os.close(read)
        os.close(write)
    assert int(output) == 4  # 0, 1, 2 and ls's own


SUBREAPER = """
import os, sys, time
from haikud.sandbox.commands import run_command
from haikud.sandbox.process_table import own_children
from haikud.sandbox.prctl import become_subreaper, is_subreaper, make_undumpable
assert not is_subreaper()
become_subreaper(); make_undumpable()
assert is_subreaper()
env = {"PATH": os.environ["PATH"]}
def run(script, **more):
    return run_command(["bash", "-c", script], cwd="/", env=env, timeout=20, grace=0.3, on_output=lambda b: None, **more)
# without a marker and in sessions of their own, with parents long gone
ended = run("(setsid env -i sleep 600 >/dev/null 2>&1 &); (setsid sh -c 'trap \\"\\" TERM; sleep 600; sleep 600' &); (true &); exit 4")
assert ended.exit_code == 4, ended
assert len(ended.left_running) >= 2, ended
assert own_children() == set(), own_children()
began = time.monotonic()
for _ in range(20):
    assert run("true").exit_code == 0
print("ok", (time.monotonic() - began) / 20)
"""


def test_a_subreaper_misses_no_one_and_keeps_no_zombies(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SUBREAPER], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok")


def test_left_overs_are_gone_for_others_too(tmp_path: Path):
    run("sleep 603 & echo $! > pid", tmp_path)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or b" Z " in Path(f"/proc/{pid}/stat").read_bytes())
