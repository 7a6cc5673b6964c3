"""What `run_command` promises about a command's end holds within walls too: see test_commands.py for mode none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.test_walls import WALLS
from tests.support.processes import as_a_subreaper, at_work_in, members

from haikud.sandbox.commands import CannotStart, Ended
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy

pytestmark = pytest.mark.parametrize("mode", WALLS)


def run(mode: str, script: str, folder: Path, **more: Any) -> tuple[Ended, bytes]:
    output: list[bytes] = []
    env = {"PATH": os.environ["PATH"], "HAIKUD_OUT": str(folder / "out")}
    options: dict[str, Any] = {"timeout": 60.0, "grace": 1.0, "on_output": output.append, **more}
    sandbox = Sandbox(Policy(mode=mode, writable=(folder,)))
    ended = sandbox.run(["bash", "-c", script], cwd=folder, env=env, **options)
    return ended, b"".join(output)


def nothing_left(folder: Path) -> bool:
    return not members(str(folder / "out"))


def test_output_exit_code_environment_and_descriptors_are_as_without_walls(tmp_path: Path, mode: str):
    script = "cat; echo one; echo two >&2; env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/self/fd | wc -l; exit 3"
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        ended, output = run(mode, script, tmp_path)
    finally:
        os.close(read)
        os.close(write)
    first, second, *names, descriptors = output.decode().split()
    assert (first, second) == ("one", "two")
    assert set(names) - {"PWD", "SHLVL", "_", "OLDPWD"} == {"HAIKUD_OUT", "PATH"}
    assert int(descriptors) == 4  # 0, 1, 2 and ls's own
    assert (ended.exit_code, ended.timed_out, ended.stopped, ended.left_running) == (3, False, False, [])


def test_much_output_comes_whole(tmp_path: Path, mode: str):
    ended, output = run(mode, "head -c 3000000 /dev/zero", tmp_path)
    assert (len(output), ended.exit_code) == (3_000_000, 0)


def test_a_signal_shows_in_the_exit_code(tmp_path: Path, mode: str):
    ended, _ = run(mode, "kill -SEGV $$", tmp_path)
    assert ended.exit_code == (128 + 11 if mode == "bwrap" else -11)


def test_what_cannot_start_says_why(tmp_path: Path, mode: str):
    sandbox = Sandbox(Policy(mode=mode, writable=(tmp_path,)))
    (tmp_path / "no-program").write_text("not executable")
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    wrong: list[tuple[list[str], Path]] = [(["/no/such/program"], tmp_path), (["no-such-program"], tmp_path)]
    wrong += [(["./no-program"], tmp_path), (["true"], Path("/nowhere")), (["a\0b"], tmp_path)]
    for argv, cwd in wrong:
        with pytest.raises(CannotStart, match="cannot start"):
            sandbox.run(argv, cwd=cwd, env={"PATH": "/bin"}, timeout=20, grace=0, on_output=print)


def test_walls_that_cannot_be_put_up_are_no_exit_code(tmp_path: Path, mode: str):
    sandbox = Sandbox(Policy(mode=mode, writable=(tmp_path,)))
    gone = tmp_path / "gone"
    gone.mkdir()
    view = sandbox._view({"PATH": "/bin"})
    object.__setattr__(view, "writable", (*view.writable, gone))
    gone.rmdir()
    if mode == "landlock":  # who cannot reach a place needs no wall before it
        assert sandbox.run(["true"], cwd="/", env={"PATH": "/bin"}, timeout=20, grace=0, on_output=print).exit_code == 0
        return
    with pytest.raises(CannotStart, match="gone"):
        sandbox.run(["true"], cwd=tmp_path, env={"PATH": "/bin"}, timeout=20, grace=0, on_output=print)


def test_children_left_in_the_background_neither_hold_the_reads_nor_outlive_the_command(tmp_path: Path, mode: str):
    began = time.monotonic()
    # Looked at before it has become its program, a child shows as the shell that forked it (whose text must not match).
    become = "".join(f"until grep -qsa 'slee[p].60{n}73' /proc/[0-9]*/cmdline; do :; done; " for n in range(3))
    script = f"a=60; sleep ${{a}}073 & setsid sleep ${{a}}173 & (setsid sleep ${{a}}273 &) ; {become} echo done"
    ended, output = run(mode, script, tmp_path)
    assert output == b"done\n"
    assert time.monotonic() - began < 30
    assert ended.exit_code == 0
    assert sorted(text.split(" ", 1)[1] for text in ended.left_running) == ["sleep 60073", "sleep 60173", "sleep 60273"]
    assert nothing_left(tmp_path)


def test_at_the_time_limit_the_whole_tree_is_ended_even_what_ignores_term(tmp_path: Path, mode: str):
    script = "trap '' TERM; (trap '' TERM; setsid sleep 600 &); while :; do sleep 600; done"
    ended, _ = run(mode, script, tmp_path, timeout=1.0, grace=0.3)
    assert (ended.exit_code, ended.timed_out, ended.left_running) == (None, True, [])
    assert nothing_left(tmp_path)


def test_term_comes_before_kill_for_children_too_and_what_they_print_then_is_still_delivered(tmp_path: Path, mode: str):
    child = "trap 'sleep 0.3; echo child; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    script = f"trap 'printf %0300000d 7; echo bye; exit 0' TERM; bash -c \"{child}\" & while :; do sleep 0.01; done"
    ready = threading.Event()
    output: list[bytes] = []

    def take(data: bytes) -> None:
        output.append(data)
        ready.set()

    ended, _ = run(mode, script, tmp_path, on_output=take, stop=ready.is_set, grace=20.0)
    assert (ended.exit_code, ended.stopped) == (None, True)
    assert b"bye\n" in b"".join(output)
    assert b"child\n" in b"".join(output)
    assert len(b"".join(output)) > 300_000


def test_processes_that_keep_forking_while_they_are_killed_are_all_ended(tmp_path: Path, mode: str):
    (tmp_path / "next.sh").write_text("trap '' TERM\nsleep 0.02\nsetsid env -i PATH=$PATH bash next.sh &\n")
    script = "trap '' TERM; for i in 1 2 3; do bash next.sh & done; while :; do sleep 0.01; done"
    try:
        with as_a_subreaper():  # nothing else would find them: in mode landlock they carry no mark
            ended, _ = run(mode, script, tmp_path, timeout=1.0, grace=0.2)
        assert ended.timed_out
        assert at_work_in(tmp_path) == set()
    finally:
        (tmp_path / "next.sh").unlink()  # had one slipped through, it would go on for ever


def test_a_caller_that_fails_while_taking_output_leaves_nothing_running(tmp_path: Path, mode: str):
    def fail(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run(mode, "sleep 600 & echo x; sleep 600", tmp_path, on_output=fail, grace=0.2)
    assert nothing_left(tmp_path)


SUBREAPER = """
import os, sys, time
from pathlib import Path
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy
from haikud.sandbox.process_table import own_children
from haikud.sandbox.prctl import become_subreaper, make_undumpable
become_subreaper(); make_undumpable()
env = {"PATH": os.environ["PATH"]}
here = Path.cwd()
sandbox = Sandbox(Policy(mode=sys.argv[1], writable=(here,)))
def run(script, **more):
    return sandbox.run(["bash", "-c", script], cwd=here, env=env, timeout=60, grace=0.3, on_output=lambda b: None, **more)
ended = run("(setsid env -i sleep 600 >/dev/null 2>&1 &); (setsid sh -c 'trap \\"\\" TERM; sleep 600; sleep 600' &); (true &); exit 4")
assert ended.exit_code == 4, ended
assert len(ended.left_running) >= 2, ended
assert own_children() == set(), own_children()
for _ in range(10):
    ended = run("(true &)")
    assert ended.exit_code == 0, ended  # what is quick is gone by itself, or ended: both are fine
assert own_children() == set(), own_children()
print("ok")
"""


def test_a_subreaper_misses_no_one_and_keeps_no_zombies(tmp_path: Path, mode: str):
    argv = [sys.executable, "-c", SUBREAPER, mode]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok")
