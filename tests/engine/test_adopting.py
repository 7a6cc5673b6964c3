"""Adopting a runner whatever has become of its records: never a stranger, never a death that nobody has seen."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engine.test_launcher import Yard, until
from tests.engine.test_launcher import yard as yard  # noqa: PLC0414 - the same fixture
from tests.spool.another_user import as_another_user, needs_root

from haikud.engine.attempts.clearing import clear_attempt
from haikud.engine.launchers import local as launchers
from haikud.engine.launchers.protocol import End, EndKind
from haikud.engine.launchers.sighting import look_for_runner
from haikud.sandbox.cgroups import cgroup_name, make_cgroup, remove_cgroup, spare_cgroup_name
from haikud.sandbox.prctl import make_undumpable
from haikud.sandbox.process_table import command_line, look_at
from haikud.spool.claims import Identity, Life, boot_id, process_start_time, release_claim, take_claim, watch_identity
from haikud.spool.layout import AttemptPaths

Spoil = Callable[[Path], None]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A living process that is nobody's runner."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def holders(yard: Yard) -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """One without an environment that has inherited the claim, and one that only has the file open."""
    claim = take_claim(yard.folder / "claim")
    assert claim is not None
    with (
        (yard.folder / "claim").open("rb") as opened,
        subprocess.Popen(["/bin/sleep", "600"], env={}, pass_fds=[claim], start_new_session=True) as bare,
        subprocess.Popen(["/bin/sleep", "600"], env={}, stdin=opened) as reader,
    ):
        release_claim(claim)
        yield bare, reader
        bare.kill()
        reader.kill()


def name_stranger(folder: Path, pid: int, *, start_time: int | None = None, boot: str | None = None) -> None:
    record = {
        "pid": pid,
        "start_time": start_time or process_start_time(pid),
        "boot_id": boot or boot_id(),
    }
    (folder / "runner.json").write_text(json.dumps(record))


def missing(folder: Path) -> None:
    (folder / "runner.json").unlink()


def torn(folder: Path) -> None:
    (folder / "runner.json").write_text('{"pid": 1')


def of_another_boot(folder: Path) -> None:
    record = json.loads((folder / "runner.json").read_text())
    (folder / "runner.json").write_text(json.dumps({**record, "boot_id": "another"}))


def of_a_dead_process(folder: Path) -> None:
    record = json.loads((folder / "runner.json").read_text())
    (folder / "runner.json").write_text(json.dumps({**record, "start_time": record["start_time"] - 1}))


def of_a_stranger(folder: Path) -> None:
    name_stranger(folder, os.getpid())


def no_claim(folder: Path) -> None:
    (folder / "claim").unlink()


def another_claim(folder: Path) -> None:
    (folder / "claim").unlink()
    (folder / "claim").touch()


def a_folder_for_a_claim(folder: Path) -> None:
    (folder / "claim").unlink()
    (folder / "claim").mkdir()


def nothing_left(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


SPOILS = [
    *(missing, torn, of_another_boot, of_a_dead_process, of_a_stranger),
    *(no_claim, another_claim, a_folder_for_a_claim, nothing_left),
]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
async def test_a_living_runner_is_adopted_whatever_an_agent_did_to_its_files(yard: Yard, spoil: Spoil):
    pid = (await yard.launcher.start(yard.order())).pid
    await yard.seen()
    spoil(yard.folder)
    yard.launcher.close()
    yard.launcher = yard.another()
    handle = yard.launcher.adopt("p.t.1", yard.folder)
    assert handle is not None
    assert handle.pid == pid
    yard.launcher.terminate("p.t.1")
    assert await yard.ended() == End(EndKind.EXITED, None)


@pytest.mark.parametrize("start_time", [None, 1], ids=["its own start", "another start"])
async def test_a_stranger_is_never_taken_for_a_runner(
    yard: Yard, stranger: subprocess.Popen[bytes], start_time: int | None
):
    name_stranger(yard.folder, stranger.pid, start_time=start_time)
    assert yard.launcher.adopt("p.t.1", yard.folder) is None
    paths = AttemptPaths(yard.folder)
    claim, ended = clear_attempt(paths, 0.2, "haikud-none")
    assert claim is not None
    release_claim(claim)
    assert ended == []
    assert stranger.poll() is None


def test_where_we_know_its_cgroup_a_note_leads_to_nobody_elses(tmp_path: Path, stranger: subprocess.Popen[bytes]):
    spool_id, folder = f"{os.getpid():012}", tmp_path / "attempt-1"
    mine, other = (make_cgroup(spare_cgroup_name(spool_id, "test", number)) for number in (1, 2))
    if mine is None or other is None:
        pytest.skip("no cgroup v2 that we may write")
    try:
        (other / "cgroup.procs").write_text(str(stranger.pid))
        folder.mkdir()
        (folder / "runner.json").write_text(json.dumps({"cgroup": str(other)}))
        claim, ended = clear_attempt(AttemptPaths(folder), 0.2, cgroup_name(spool_id, "p.t.1"), place=str(mine))
        assert claim is not None
        release_claim(claim)
        assert ended == []
        assert stranger.poll() is None
        assert not mine.exists()
    finally:
        stranger.kill()
        stranger.wait()
        remove_cgroup(other)


async def test_a_look_that_the_machine_refuses_is_no_death_and_is_repeated(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    pid = (await yard.launcher.start(yard.order())).pid
    await yard.seen()
    yard.launcher.close()
    yard.launcher = yard.another()
    real = os.pidfd_open
    refusals = 3

    def no_descriptor(number: int) -> int:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(number)

    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    handle = yard.launcher.adopt("p.t.1", yard.folder)
    assert handle is not None
    assert handle.pid is None
    await until(lambda: yard.launcher.pid_of("p.t", 1) == pid)
    assert yard.ends == {}


async def test_a_refused_look_at_all_processes_is_unknown_too(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    (yard.folder / "claim").touch()

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr("haikud.engine.launchers.sighting.look_at_all", refuse)
        assert look_for_runner(yard.folder).life is Life.UNKNOWN
        assert yard.launcher.adopt("p.t.1", yard.folder) is not None
    assert await yard.ended() == End(EndKind.EXITED, None)  # then it is looked at again, and there is none


def test_a_runner_json_that_no_descriptor_is_left_for_is_unknown_too(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    (yard.folder / "runner.json").write_text("{}")
    real = os.open

    def refuse(path: str | Path, *args: int, **named: int | None) -> int:
        if Path(path).name == "runner.json":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    assert look_for_runner(yard.folder).life is Life.UNKNOWN


async def test_our_own_runner_for_which_no_descriptor_is_left_is_watched_all_the_same(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:

        def refuse(_pid: int) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patched.setattr(os, "pidfd_open", refuse)
        pid = (await yard.launcher.start(yard.order())).pid
    assert pid is not None
    await yard.seen()
    yard.let_end(7)
    end = await yard.ended()
    assert end.kind is EndKind.EXITED
    assert look_at(pid) is None  # reaped


async def test_who_holds_a_claim_without_being_a_runner_is_in_its_way_and_ended(
    yard: Yard, holders: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(launchers, "NAMELESS_SECONDS", 0.3)
    bare, reader = holders
    assert yard.launcher.adopt("p.t.1", yard.folder) is not None
    assert await yard.ended() == End(EndKind.EXITED, None)
    claim, ended = clear_attempt(AttemptPaths(yard.folder), 0.2, "haikud-none")
    assert claim is not None
    release_claim(claim)
    assert [text.split()[0] for text in ended] == [str(bare.pid)]
    assert bare.wait(timeout=10) == -signal.SIGTERM
    assert reader.poll() is None  # it only reads that file


async def test_a_claim_that_is_none_any_more_holds_up_nothing(yard: Yard):
    (yard.folder / "claim").mkdir()
    assert clear_attempt(AttemptPaths(yard.folder), 0.2, "haikud-none") == (None, [])
    shutil.rmtree(yard.folder)
    claim, _ = clear_attempt(AttemptPaths(yard.folder), 0.2, "haikud-none")
    assert claim is not None
    release_claim(claim)


@needs_root
def test_a_daemon_that_is_not_root_sees_an_undumpable_runner_by_its_command_line_alone():
    def work() -> None:
        runner = os.fork()
        if runner == 0:
            make_undumpable()
            signal.pause()
        try:
            identity = Identity(runner, process_start_time(runner) or 0, boot_id())
            life, pidfd = watch_identity(identity)
            assert (life, pidfd is not None) == (Life.ALIVE, True)
            with pytest.raises(PermissionError):
                Path(f"/proc/{runner}/environ").read_bytes()  # so its mark cannot be seen
            assert command_line(runner) == command_line(os.getpid()) != b""
        finally:
            os.kill(runner, signal.SIGKILL)
            os.waitpid(runner, 0)

    as_another_user(Path("/"), work)
