"""Which sandbox mode a daemon runs tasks in, where the machine refuses one: said, never silently less than was asked."""

from __future__ import annotations

import shutil
import signal
import subprocess

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

from haikud.sandbox.landlock import landlock_abi

NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
CONTAINER = ["unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES, "sh"]
"""As in a container that was not given user namespaces: bubblewrap is there, and is refused."""

TRIES = 'cat "$HAIKUD_OUT/../spec.json" >/dev/null 2>&1 && echo read || echo held'


@pytest.fixture
def container(house: House) -> House:
    """A house whose daemon lives in such a container."""
    if shutil.which("unshare") is None or shutil.which("bwrap") is None:
        pytest.skip("needs unshare and bubblewrap")
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("user namespaces are refused on this machine too")
    house.wrapper = CONTAINER
    return house


@pytest.mark.skipif(landlock_abi() < 1, reason="this kernel has no Landlock")
def test_where_bwrap_is_refused_it_is_landlock_with_reason_and_cure(container: House):
    house = container
    house.role("tries", TRIES)
    house.settings = {"sandbox": {"mode": "auto", "readable": [str(house.roles)]}}
    house.start()
    house.request("held", role="tries", files=[])
    answer = house.response("held", seconds=120)
    assert answer["status"] == "success", house.tail()
    assert answer["payload"]["evidence"]["sandbox"] == "landlock"
    assert "agent | held" in house.log("held")
    (said,) = [line for line in house.said().splitlines() if "sandbox landlock (" in line]
    assert "bwrap: " in said
    assert "sysctl -w user.max_user_namespaces=" in said
    # It is written once a second at most, and the task may take less.
    wait_until(lambda: (house.read("status.json") or {})["daemon"]["sandbox"] == "landlock", what=house.tail)
    doctor = [*CONTAINER, *house.command()[:3], "doctor", *house.command()[4:]]
    told = subprocess.run(
        doctor, env=house.base_environment(), capture_output=True, text=True, timeout=120, check=False
    ).stdout
    (line,) = [line for line in told.splitlines() if "sandbox" in line and "landlock" in line]
    assert "sysctl -w user.max_user_namespaces=" in told, line


def test_what_is_named_and_refused_is_not_replaced_and_tasks_wait_until_it_works(container: House):
    house = container
    house.role("tries", TRIES)
    house.settings = {"sandbox": {"mode": "bwrap"}}
    house.start()
    house.request("waits", role="tries", files=[])
    wait_until(lambda: (house.read("status.json") or {}).get("faults"), what=house.tail)
    status = house.read("status.json")
    assert status is not None
    (fault,) = status["faults"]
    assert fault["kind"] == "no_sandbox"
    assert "no sandbox that the settings allow works here: bwrap: " in fault["message"]
    assert "sysctl -w user.max_user_namespaces=" in fault["cure"]
    assert status["daemon"]["sandbox"] == "unavailable"
    wait_until(lambda: house.state("waits") == "queued", what=house.tail)
    wait_until(lambda: "nothing is run" in str(house.read("status.json")), what=house.tail)
    house.settings = {"sandbox": {"mode": "none"}}
    house.command()
    house.send(signal.SIGHUP)
    answer = house.response("waits", seconds=120)
    assert answer["payload"]["evidence"]["sandbox"] == "none"
    assert "sandbox none, as the settings say" in house.said()
    assert len([one for one in house.decisions("waits") if one["state"] == "running"]) == 1
