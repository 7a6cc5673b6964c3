"""What is done before runners are forked: a rehearsal that leaves nothing behind, and a heap that is cheap to fork."""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.attempts import Bench
from tests.support.waiting import wait_until

from haikud.agent import forkserver
from haikud.agent.rehearsal import rehearse
from haikud.contracts.forking import ForkOrder, SpareOrder
from haikud.contracts.masking import Masker, active_masker, use_masker
from haikud.sandbox.prctl import is_subreaper

SPARE = 64 * 1024 * 1024

FORKED = f"""
import gc, mmap, os, re
from haikud.agent.shared_heap import prepare_to_fork
kept = [bytes(400) for _ in range({SPARE} // 433)]
prepare_to_fork()
frozen, enabled = gc.get_freeze_count(), gc.isenabled()
large = int(re.search(r"AnonHugePages: *([0-9]+) kB", open("/proc/self/smaps_rollup").read())[1])
print(frozen, enabled, large)
"""


def test_a_rehearsal_goes_through_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    masker = Masker({"a-secret-of-this-test": "secret"})
    before = active_masker()
    use_masker(masker)
    try:
        assert rehearse()
        assert active_masker() is masker
    finally:
        use_masker(before)
    assert list(tmp_path.iterdir()) == []
    assert not is_subreaper()
    assert gc.isenabled()


def test_after_it_an_attempt_compiles_no_regular_expression_and_imports_nothing(bench: Bench):
    bench.order("true", with_worktree=False)
    script = (
        "import re, sys, threading\n"
        "from pathlib import Path\n"
        "from haikud.agent.rehearsal import rehearse\n"
        "from haikud.agent.runner import run_attempt\n"
        "assert rehearse()\n"
        "known, compile_ = set(sys.modules), re._compiler.compile\n"
        "def compiled(*given): raise SystemExit(f'compiled {given}')\n"
        "re._compiler.compile = compiled\n"
        "code = run_attempt(Path(sys.argv[1]), None, threading.Event())\n"
        "print(code, sorted(set(sys.modules) - known))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(bench.paths.folder)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("0 []\n", "")


PRACTISED = """
import os, resource
from haikud.agent.rehearsal import practise, rehearse
from haikud.agent.shared_heap import prepare_to_fork
assert rehearse()
prepare_to_fork()
faults, opened = [], len(os.listdir("/proc/self/fd"))
for times in (1, 2):
    pid = os.fork()
    if pid == 0:
        for _ in range(times):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            practise()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        print(faults[-1], len(os.listdir("/proc/self/fd")) == opened, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_who_has_practised_finds_its_memory_there():
    done = subprocess.run([sys.executable, "-c", PRACTISED], capture_output=True, text=True, check=True)
    first, has_closed, second, has_closed_again = done.stdout.split()
    assert int(second) * 5 < int(first)
    assert (has_closed, has_closed_again) == ("True", "True")


COPIED = """
import os, mmap, resource
from haikud.agent.own_pages import learn
from haikud.sandbox.prctl import _prctl, make_undumpable
if os.getuid() == 0:  # who may read all of /proc proves nothing
    os.setuid(65534)
    _prctl(4, 1)
PAGES, PAGE = 3000, mmap.PAGESIZE
memory = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = bytes(PAGES * PAGE)
def write(): memory[:: 2 * PAGE] = b"x" * (PAGES // 2)
def look(): return memory[0]
opened = len(os.listdir("/proc/self/fd"))
def live():
    make_undumpable()  # as a runner does
    write()
for pages in (learn(look), learn(live)):
    pid = os.fork()
    if pid == 0:
        make_undumpable()
        copied = pages.copy()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        write()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(copied, faults, len(os.listdir("/proc/self/fd")) - opened, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
print(memory[0], memory[2 * PAGE])
"""


def test_the_pages_that_one_process_has_written_to_are_copied_for_the_next_one_before_it_writes():
    done = subprocess.run([sys.executable, "-c", COPIED], capture_output=True, text=True, check=True)
    looked, written, left = [line.split() for line in done.stdout.splitlines()]
    assert int(looked[1]) > 1500
    assert looked[2] == written[2] == "0"
    assert left == ["0", "0"]
    if tuple(int(part) for part in re.findall("[0-9]+", os.uname().release)[:2]) >= (6, 13):
        assert written[0] == "True"
        assert int(written[1]) < 100


KILLED = """
import os, signal
from haikud.agent import own_pages
def tell_in_part(descriptor, data):
    os.write(descriptor, data[:5])
    os.kill(os.getpid(), signal.SIGKILL)
own_pages.write_all = tell_in_part
print(len(own_pages.learn(dict)), own_pages.learn(dict).copy())
"""


def test_one_that_is_killed_while_it_tells_of_its_pages_has_told_of_none():
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


def test_the_heap_is_frozen_and_lies_on_large_pages_where_there_are_any():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    frozen, enabled, large = done.stdout.split()
    assert int(frozen) > 1000
    assert enabled == "False"
    release = tuple(int(part) for part in re.findall("[0-9]+", os.uname().release)[:2])
    chosen = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if release >= (6, 1) and chosen.exists() and "[never]" not in chosen.read_text():
        assert int(large) > 0


def a_spare(run: forkserver.Run, practise_more: Callable[[], object]) -> tuple[int, socket.socket]:
    """Its pid, and the socket that its order goes to."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        server = forkserver.Forkserver(its, run, lambda: False, practise_more=practise_more)
        server._fork_spares(SpareOrder(spares=1))
        data, (pidfd, link), _, _ = socket.recv_fds(ours, 4096, 2)
    for descriptor in (pidfd, server._null, *server._runners):
        os.close(descriptor)
    return json.loads(data)["pid"], socket.socket(fileno=link)


def test_a_spare_for_which_no_order_comes_practises_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forkserver, "LEISURE_SECONDS", 0.05)
    pid, link = a_spare(lambda _: 5, (tmp_path / "practised").touch)
    wait_until((tmp_path / "practised").exists)
    give_order(link, tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_a_spare_whose_order_comes_soon_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forkserver, "LEISURE_SECONDS", 60.0)
    pid, link = a_spare(lambda _: 5, (tmp_path / "practised").touch)
    give_order(link, tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert not (tmp_path / "practised").exists()


def give_order(link: socket.socket, folder: Path) -> None:
    order = ForkOrder(number=1, argv=[], environment={}, handed=["log"])
    with link, (folder / "log").open("w") as log:
        socket.send_fds(link, [order.model_dump_json().encode()], [log.fileno()])
