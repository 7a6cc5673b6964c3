"""What the machine may refuse the daemon beside room: descriptors, processes, inotify, files that can be read."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.few_processes import pids_cgroup
from tests.support.house import GATED, House
from tests.support.inotify import inotify_in_use
from tests.support.waiting import wait_until

DEAF = Path(__file__).resolve().parents[1] / "support/deaf_daemon.py"
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")

OF_OTHERS = {"watch_limit", "events_lost"}
"""Faults that a test may have which runs beside one that takes inotify away from the whole machine."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, settings={"rescan_seconds": 0.3})
    made.role("worker", "true", workspace="none")
    made.role("gated", GATED.format(gate=made.root / "gate"), workspace="none")
    yield made
    made.close()


def faults(house: House) -> dict[str, dict[str, Any]]:
    """What status.json has, by kind."""
    return {one["kind"]: one for one in (house.read("status.json") or {"faults": []})["faults"]}


def test_refused_processes_and_threads_hold_work_and_cost_no_retry(house: House):
    house.start()
    house.request("running", role="gated")
    house.at_work("running")
    assert house.process is not None
    with pids_cgroup(house.process.pid) as most:
        most.write_text("0", encoding="ascii")
        house.request("later", role="worker")
        found = wait_until(lambda: faults(house).get("no_processes"), what=lambda: f"the fault; {house.tail()}")
        assert found is not None
        assert found["holds_work"]
        assert (house.read("status.json") or {})["daemon"]["state"] == "faulted"
        most.write_text("max", encoding="ascii")
        assert house.response("later")["status"] == "success"
        wait_until(lambda: not faults(house), what=lambda: f"the end of the fault; {house.tail()}")
    assert [one["failures"] for one in house.decisions("later")][-1] == 0
    (house.root / "gate").touch()
    assert house.response("running")["status"] == "success"
    assert house.process.poll() is None


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is needed to refuse one fork")
def test_an_attempt_whose_fork_was_refused_costs_no_retry(house: House):
    house.wrapper = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=vfork,clone:error=EAGAIN:when=1"]
    house.start()
    house.request("later", role="worker")
    assert house.response("later")["status"] == "success"
    outcomes = [one["outcome"] for one in house.decisions("later")]
    assert "environment" in outcomes, house.tail()
    assert "no_processes" in house.said()


def test_at_its_limit_of_open_files_the_daemon_goes_on(house: House):
    house.start()
    house.request("running", role="gated")
    house.at_work("running")
    assert house.process is not None
    pid = house.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 2, before[1]))
    house.request("later", role="worker")
    wait_until(lambda: "fault: too_many_files: " in house.said(), what=lambda: f"the fault; {house.tail()}")
    assert house.process.poll() is None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert house.response("later")["status"] == "success"
    (house.root / "gate").touch()
    assert house.response("running")["status"] == "success"
    wait_until(lambda: not faults(house), what=lambda: f"the end of the fault; {house.tail()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a folder immutable")
def test_a_folder_that_may_not_be_written_holds_work_until_it_may(house: House):
    house.start()
    plans = house.spool / "plans"
    if subprocess.run(["chattr", "+i", str(plans)], check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be made immutable here")
    try:
        house.request("later", role="worker")
        found = wait_until(lambda: faults(house).get("permission_denied"), what=lambda: f"the fault; {house.tail()}")
        assert found is not None
        assert found["holds_work"]
        assert "chattr -i" in found["cure"]
        assert str(plans) in found["message"]
    finally:
        subprocess.run(["chattr", "-i", str(plans)], check=True)
    assert house.response("later")["status"] == "success"
    wait_until(lambda: not faults(house), what=lambda: f"the end of the fault; {house.tail()}")


def test_a_soft_limit_is_raised_for_the_daemon_and_kept_for_agents(house: House):
    house.wrapper = ["prlimit", "--nofile=256:4096"]
    house.role("tells", 'ulimit -Sn > "$HAIKUD_OUT/limit"', workspace="none")
    house.start()
    assert house.process is not None
    limits = Path(f"/proc/{house.process.pid}/limits").read_text(encoding="utf-8")
    assert next(line for line in limits.splitlines() if "open files" in line).split()[3:5] == ["4096", "4096"]
    house.request("one", role="tells")
    house.response("one")
    assert (house.spool / "plans/one/one/attempt-1/out/limit").read_text(encoding="utf-8").strip() == "256"


@pytest.fixture
def with_inotify():
    with inotify_in_use():
        yield


@pytest.fixture
def alone_with_inotify():
    with inotify_in_use(alone=True):
        yield


def test_though_every_inotify_event_is_dropped_all_work_is_done(with_inotify: None, house: House):
    house.settings = {"rescan_seconds": 0.3, "watcher": "inotify"}
    house.role("asks", 'echo "which?"; exit 79', workspace="none")
    house.wrapper = [sys.executable, str(DEAF)]
    house.start()
    assert (house.read("status.json") or {})["daemon"]["watcher"] == "inotify"
    house.request("one", role="worker")
    assert house.response("one")["status"] == "success"
    house.request("asks", role="asks")
    wait_until(lambda: house.read("escalations/asks.json"), what=lambda: f"the question; {house.tail()}")
    house.drop("guidance", "asks.json", {"action": "reassign", "role": "worker", "guidance": "this one"})
    assert house.response("asks")["status"] == "success"
    house.request("long", role="gated")
    house.at_work("long")
    house.drop("control", "long.cancel", "")
    assert house.response("long")["status"] == "cancelled"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may lower inotify's limits")
def test_without_inotify_folders_are_polled_until_it_can_be_had(alone_with_inotify: None, house: House):
    before = INSTANCES.read_text(encoding="ascii")
    house.settings = {"rescan_seconds": 0.3, "poll_seconds": 0.1}
    try:
        INSTANCES.write_text("0", encoding="ascii")
    except OSError:
        pytest.skip("inotify's limits cannot be lowered here")
    try:
        house.start()
        found = faults(house)["watch_limit"]
        assert "max_user_instances" in found["cure"]
        assert not found["holds_work"]
        assert (house.read("status.json") or {})["daemon"]["watcher"] == "polling"
        house.request("one", role="worker")
        assert house.response("one")["status"] == "success"
    finally:
        INSTANCES.write_text(before, encoding="ascii")
    wait_until(lambda: (house.read("status.json") or {})["daemon"]["watcher"] == "inotify", what="inotify to be back")
    wait_until(lambda: not faults(house), what="the end of the fault")
    assert house.said().count("fault: watch_limit") == 1
    house.request("two", role="worker")
    assert house.response("two")["status"] == "success"


@pytest.mark.parametrize("missing", [False, True], ids=["cut off", "missing"])
def test_a_plan_that_cannot_be_read_is_shown_and_taken_up_once_it_is_mended(house: House, *, missing: bool):
    house.start()
    house.request("broken", role="gated")
    house.at_work("broken")
    house.kill()
    path = house.spool / "plans/broken/plan.json"
    whole = path.read_bytes()
    if missing:
        path.unlink()
    else:
        path.write_bytes(whole[:40])
    house.start()
    found = wait_until(lambda: faults(house).get("unreadable"), what=lambda: f"the fault; {house.tail()}")
    assert found is not None
    assert "plans/broken/plan.json" in found["message"]
    assert "haikud doctor --repair" in found["cure"]
    house.request("other", role="worker")
    assert house.response("other")["status"] == "success"
    path.write_bytes(whole)
    (house.root / "gate").touch()
    assert house.response("broken")["status"] == "success"
    wait_until(lambda: not faults(house), what=lambda: f"the end of the fault; {house.tail()}")


@pytest.mark.parametrize("restart", [False, True], ids=["while the daemon runs", "while it is down"])
def test_an_agent_that_deletes_its_own_folder_is_settled_as_failed_and_others_go_on(house: House, *, restart: bool):
    gated = GATED.format(gate=house.root / "gate")
    house.role("deletes", f'{gated}; rm -rf "$(dirname "$(dirname "$HAIKUD_OUT")")"', workspace="none")
    house.start()
    tasks = [{"id": "a", "role": "deletes"}, {"id": "b", "role": "worker"}, {"id": "c", "dependencies": ["a"]}]
    document = {"id": "p", "tasks": [{"title": one["id"], "role": "worker", **one} for one in tasks]}
    house.drop("incoming", "p.json", {"task_plan": document})
    house.at_work("p.a")
    house.response("p.b")
    if restart:
        house.kill()
    (house.root / "gate").touch()
    if restart:
        wait_until(lambda: not (house.spool / "plans/p/a").exists() and not house.leftovers(), what="its deed")
        house.start()
    answer = house.response("p")
    assert answer["status"] == "partial", house.tail()
    assert [one["status"] for one in answer["payload"]["tasks"]] == ["failure", "success", "failure"]
    assert "was deleted" in json.dumps(house.response("p.a"))
    assert house.state("p.a") == "failed"
    assert not set(faults(house)) - OF_OTHERS


def test_with_too_many_open_questions_only_what_is_answered_goes_on(house: House):
    house.settings = {"rescan_seconds": 0.3, "max_open_escalations": 1}
    house.role("asks", '[ -n "$HAIKUD_GUIDANCE_FILE" ] || { echo "which?"; exit 79; }', workspace="none")
    house.start()
    house.request("asks", role="asks")
    wait_until(lambda: house.read("escalations/asks.json"), what="the question")
    house.request("held", role="worker")
    wait_until(lambda: (house.read("status.json") or {}).get("held"), what=lambda: f"the reason; {house.tail()}")
    wait_until(lambda: house.state("held") == "queued", what="the other one to be admitted")
    assert "Nothing new is started: 1 questions are open" in house.haikud("status").stdout
    house.drop("guidance", "asks.txt", "the second")
    assert house.response("asks")["status"] == "success"
    assert house.response("held")["status"] == "success"
    assert house.said().count("questions are open, and max_open_escalations") == 1
