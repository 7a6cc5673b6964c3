"""The launcher of this machine, with and without a forkserver: real processes, real locks."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.support.tiny_attempts import Yard, shown, until

from haikud.engine.launchers.protocol import End, EndKind, LaunchFailed
from haikud.spool.claims import names_attempt, release_claim, take_claim


@pytest.fixture(params=["subprocess", "forkserver", "spares"])
async def yard(tmp_path: Path, request: pytest.FixtureRequest):
    async with Yard(
        tmp_path, forks=request.param != "subprocess", spares=1 if request.param == "spares" else 0
    ) as made:
        yield made


async def test_a_runner_gets_claim_key_log_and_an_environment_from_nothing(yard: Yard):
    handle = await yard.launcher.start(yard.order(key="sk-1", environment={"PATH": os.defpath, "HAIKUD_OUT": "/o"}))
    assert not yard.claim_is_free()
    seen = await yard.seen()
    assert json.loads(seen["key"]) == {"api_key": "sk-1"}
    assert set(seen["environment"]) <= {"PATH", "HAIKUD_OUT", "PYTHONPATH", "LC_CTYPE"}
    assert (seen["ref"], seen["cwd"], seen["leader"], seen["stdin"]) == ("p.t", "/", True, "")
    assert set(seen["open"]) <= {0, 1, 2, *seen["given"]}
    assert yard.launcher.pid_of("p.t", 1) == handle.pid
    yard.let_end(7)
    assert await yard.ended() == End(EndKind.EXITED, 7)
    assert yard.claim_is_free()
    assert sorted(yard.log.read_text().split("\n")) == ["", "a word on stderr", "a word on stdout"]


async def test_the_log_is_appended_to(yard: Yard):
    yard.log.write_text("before\n")
    await yard.launcher.start(yard.order())
    await yard.seen()
    assert yard.log.read_text().startswith("before\n")


async def test_a_fifo_in_the_logs_place_is_a_failed_start_and_not_waited_for(yard: Yard):
    order = yard.order()
    order.log.unlink(missing_ok=True)
    os.mkfifo(order.log)
    with pytest.raises(LaunchFailed):
        await yard.launcher.start(order)


async def test_starting_the_same_attempt_again_starts_nothing(yard: Yard):
    assert await yard.launcher.start(yard.order()) == await yard.launcher.start(yard.order())


async def test_a_claim_that_someone_holds_is_a_failed_start(yard: Yard):
    claim = take_claim(yard.folder / "claim")
    assert claim is not None
    with pytest.raises(LaunchFailed, match="claim"):
        await yard.launcher.start(yard.order())
    release_claim(claim)


async def test_what_cannot_be_started_leaves_the_claim_free(yard: Yard):
    launcher = yard.another(("/does/not/exist",))
    with pytest.raises(LaunchFailed, match="exist"):
        await launcher.start(yard.order(key="sk-1"))
    assert yard.claim_is_free()


@pytest.mark.parametrize(("force", "number"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
async def test_terminating_tells_by_which_signal_it_died(yard: Yard, force: bool, number: int):
    await yard.launcher.start(yard.order())
    await yard.seen()
    yard.launcher.terminate("p.t.1", force=force)
    assert await yard.ended() == End(EndKind.EXITED, -number)
    yard.launcher.terminate("p.t.1")  # of what is gone: nothing


async def test_closing_leaves_the_runner_alone_and_the_next_launcher_adopts_it(yard: Yard):
    pid = (await yard.launcher.start(yard.order())).pid
    await yard.seen()
    yard.launcher.close()
    yard.launcher = yard.another()
    handle = yard.launcher.adopt("p.t.1", yard.folder)
    assert handle is not None
    assert handle.pid == pid
    yard.launcher.terminate("p.t.1")
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_a_free_claim_is_nobody_to_adopt(yard: Yard):
    assert yard.launcher.adopt("p.t.1", yard.folder) is None
    assert yard.launcher.adopt("p.t.1", yard.folder.parent / "attempt-9") is None


async def test_a_runner_that_has_not_named_itself_is_adopted_by_its_command_line(yard: Yard):
    (yard.folder / "be-nameless").touch()
    pid = (await yard.launcher.start(yard.order())).pid
    await until(lambda: names_attempt(shown("cmdline", pid), yard.folder))  # a forked one takes a moment to show it
    yard.launcher.close()
    yard.launcher = yard.another()
    handle = yard.launcher.adopt("p.t.1", yard.folder)
    assert handle is not None
    assert handle.pid == pid
    yard.launcher.terminate("p.t.1")
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_a_runner_that_is_not_to_be_found_yet_is_adopted_when_it_is(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    (yard.folder / "be-nameless").touch()
    await yard.launcher.start(yard.order())
    yard.launcher.close()
    yard.launcher = yard.another()
    with monkeypatch.context() as patched:  # between fork and exec it still looks like the daemon that was killed
        patched.setattr("haikud.engine.launchers.sighting.command_line", lambda _pid: b"haikud run")
        handle = yard.launcher.adopt("p.t.1", yard.folder)
        assert handle is not None
        assert handle.pid is None
    yard.launcher.terminate("p.t.1")  # kept until it can be delivered
    (yard.folder / "be-nameless").unlink()
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_a_nameless_runner_that_dies_is_seen_to_be_gone(yard: Yard):
    (yard.folder / "be-nameless").touch()
    pid = (await yard.launcher.start(yard.order())).pid
    assert pid is not None
    yard.launcher.close()
    yard.launcher = yard.another()
    yard.launcher.adopt("p.t.1", yard.folder)
    os.kill(pid, signal.SIGKILL)
    assert await yard.ended() == End(EndKind.EXITED, None)


async def test_an_environment_that_is_not_utf_8_is_handed_on_as_it_is(yard: Yard):
    path = f"{os.defpath}:/home/jos\udce9"
    await yard.launcher.start(yard.order(environment={"PATH": path}))
    assert (await yard.seen())["environment"]["PATH"] == path


async def test_a_start_that_breaks_leaves_the_claim_free(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haikud.engine.launchers.local.import_path", list)  # a bug of ours: no mapping
    with pytest.raises(TypeError):
        await yard.launcher.start(yard.order())
    assert yard.claim_is_free()
