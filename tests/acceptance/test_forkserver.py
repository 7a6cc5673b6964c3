"""Runners forked by a process that has everything loaded: they work, outlive it and the daemon, and are their own."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
from tests.support.house import GATED, House
from tests.support.repository import git
from tests.support.scripts import COMMIT, DONE, WRITE, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

KEY = "sk-ant-scripted-fork-0123456789"


def forkserver(house: House) -> psutil.Process:
    """The one of the house's daemon that runs, once it forks."""
    assert house.process is not None
    wait_until(lambda: "started the forkserver" in house.said(), seconds=60, what="the forkserver")
    found = [one for one in psutil.Process(house.process.pid).children() if one.cmdline()[:1] == ["haikud-forkserver"]]
    assert len(found) == 1
    return found[0]


def test_a_forked_runner_of_the_built_in_agent_outlives_forkserver_and_daemon_and_is_taken_up(house: House):
    house.settings["launcher"] = "forkserver"
    waits = GATED.format(gate=house.root / "gate")
    turn = {"tools": [{"name": "bash", "input": {"command": waits}}]}
    with ScriptedApi(parse_scenario(scenario(conversation(turn, dict(WRITE), dict(COMMIT), dict(DONE))))) as api:
        house.environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        server = forkserver(house)
        house.request("sub", title="Add sub", files=["calc.py"])
        house.at_work("sub")
        runner = psutil.Process(house.runner_pid("sub"))
        assert runner.ppid() == server.pid
        assert runner.num_fds() < 20
        assert len(server.threads()) == 1
        for process in (server, runner):
            assert KEY.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes()
        house.kill()
        wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, what="its end")
        assert runner.is_running()
        house.start()
        (house.root / "gate").touch()
        response = house.response("sub")
    assert response["status"] == "success", house.tail()
    assert house.decisions("sub")[-1]["attempt"] == 1
    assert "def sub" in git(house.repository, "show", "feature/sub:calc.py")


def test_a_runner_that_is_killed_is_seen_with_its_signal_and_its_task_goes_on(house: House):
    house.settings["launcher"] = "forkserver"
    role = house.role(
        "waits", GATED.format(gate=house.root / "gate") + "; echo '# more' >> calc.py; git commit -qam More"
    )
    house.start()
    forkserver(house)
    house.request("more", role=role)
    house.at_work("more")
    psutil.Process(house.runner_pid("more")).send_signal(signal.SIGKILL)
    house.at_work("more", 2)
    (house.root / "gate").touch()
    response = house.response("more")
    assert (response["status"], house.decisions("more")[-1]["attempt"]) == ("success", 2), house.tail()
    assert "the runner died of signal 9" in str(house.decisions("more"))
