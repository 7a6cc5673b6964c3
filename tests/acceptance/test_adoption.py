"""From daemon to daemon: runners that live go on, whatever the next daemon is; those that died are settled."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
from tests.support.house import GATED, SOURCE, House
from tests.support.repository import TEST_COMMAND
from tests.support.scripts import COMMIT, DONE, WRITE, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi
from haikud.sandbox.process_table import command_line, look_at_all

CHANGES = "; echo '# more' >> calc.py; git commit -qam More"


def installed(house: House, name: str, *, version: str | None = None) -> Path:
    """A copy of the package, from which the house's next daemon runs."""
    copy = house.root / name
    shutil.copytree(SOURCE / "haikud", copy / "haikud", ignore=shutil.ignore_patterns("*.pyc.*"))  # being written
    if version is not None:
        (copy / "haikud" / "__init__.py").write_text(f'"""haikud."""\n\n__version__ = "{version}"\n')
    house.environment["PYTHONPATH"] = str(copy)
    return copy


def running(house: House) -> dict[str, int]:
    """The pids of the tasks that status.json of the house's newest daemon shows as running, by ref."""
    status = house.read("status.json")
    assert status is not None
    assert house.process is not None
    if status["daemon"]["pid"] != house.process.pid:
        return {}
    return {task["ref"]: task["pid"] for task in status["tasks"] if task["state"] == "running"}


def test_eight_agents_survive_kill_9_and_an_upgrade_that_takes_the_package_from_under_them(house: House):
    waits = GATED.format(gate=house.root / "gate")
    turn = {"tools": [{"name": "bash", "input": {"command": waits}}]}
    with ScriptedApi(parse_scenario(scenario(conversation(turn, dict(WRITE), dict(COMMIT), dict(DONE))))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted-1", "ANTHROPIC_BASE_URL": api.base_url}
        old = installed(house, "old")
        house.role("quick", waits, workspace="none")
        house.role("changes", waits + CHANGES)
        house.start()
        refs = [f"quick-{number}" for number in range(6)]
        for ref in refs:
            house.request(ref, role="quick")
        tested: dict[str, Any] = {"context": {"test_command": TEST_COMMAND}, "files": ["calc.py"]}
        house.request("changes", role="changes", **{**tested, "files": []})
        house.request("built-in", **tested)
        refs += ["changes", "built-in"]
        for ref in refs:
            house.at_work(ref)
        pids = {ref: house.runner_pid(ref) for ref in refs}
        house.kill()
        installed(house, "new", version="9.9.9")
        shutil.rmtree(old)
        house.start()
        assert wait_until(lambda: running(house), what="the adoption") == pids
        status = house.read("status.json")
        assert status is not None
        assert status["daemon"]["version"] == "9.9.9"
        (house.root / "gate").touch()
        for ref in refs:
            response = house.response(ref)
            assert response["status"] == "success", house.log(ref)
            assert response["payload"]["attempts"] == 1
        assert house.response("built-in")["payload"]["tests_passing"] is True
        assert house.response("changes")["payload"]["commits"] == 1
    assert [one.cmdline() for one in house.leftovers()] == []


def test_a_runner_that_dies_between_daemon_and_daemon_is_settled_with_its_tree_and_goes_on(house: House):
    house.role("gated", GATED.format(gate=house.root / "gate"), workspace="none")
    house.start()
    house.request("shot", role="gated")
    house.at_work("shot")
    house.kill()
    os.kill(house.runner_pid("shot"), signal.SIGKILL)
    old = {one.pid for one in house.leftovers()}
    assert old  # its agent lives on
    house.start()
    house.at_work("shot", 2)
    assert not old & {one.pid for one in house.leftovers()}
    (house.root / "gate").touch()
    assert house.response("shot")["payload"]["attempts"] == 2
    assert [one["outcome"] for one in house.decisions("shot") if one["outcome"]] == ["orphaned", "completed"]


STOPS_AT_BOOT = """
import os, signal, sys
if "--attempt" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_runner_that_has_not_said_who_it_is_when_the_daemon_dies_is_adopted(house: House):
    (installed(house, "stopping") / "sitecustomize.py").write_text(STOPS_AT_BOOT)
    house.role("quick", "true", workspace="none")
    house.start()
    house.request("early", role="quick")
    folder = house.task_folder("early") / "attempt-1"
    starting = wait_until(lambda: stopped_runner(folder), what=lambda: f"a runner that has just begun; {house.tail()}")
    assert starting is not None
    assert not (folder / "runner.json").exists()
    house.kill()
    house.start()
    assert wait_until(lambda: running(house), what="the adoption") == {"early": starting}
    os.kill(starting, signal.SIGCONT)
    response = house.response("early")
    assert (response["status"], response["payload"]["attempts"]) == ("success", 1)
    assert house.runner_pid("early") == starting


def stopped_runner(folder: Path) -> int | None:
    """The pid of that attempt's runner, once it has stopped itself."""
    for seen in look_at_all().values():
        if b"--attempt\0" + os.fsencode(folder) in command_line(seen.pid):
            return seen.pid if b") T " in Path(f"/proc/{seen.pid}/stat").read_bytes() else None
    return None


def test_the_next_daemon_goes_on_ending_what_was_ordered_to_end_and_gives_no_second_grace(house: House):
    house.settings = {"limits": {"grace_seconds": 60.0}}
    house.role("gated", GATED.format(gate=house.root / "gate"), workspace="none")
    house.start()
    house.request("stuck", role="gated")
    house.at_work("stuck")
    runner = psutil.Process(house.runner_pid("stuck"))
    runner.suspend()  # it cannot obey the TERM
    assert house.haikud("cancel", "stuck").returncode == 0
    orders = house.spool / "plans/stuck/stuck/attempt-1/orders.json"
    wait_until(orders.exists, what="the order")
    house.kill()
    assert runner.status() == psutil.STATUS_STOPPED
    long_ago = time.time() - 100  # the grace is over
    os.utime(orders, (long_ago, long_ago))
    house.start()
    assert house.response("stuck", seconds=40)["status"] == "cancelled"
    assert "it outlived its grace period" in house.said()
    assert [one.cmdline() for one in house.leftovers()] == []
