"""Faults of the machine, made for real: work is held, it is said with the cure, and goes on when the fault is over."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.support.house import GATED, House
from tests.support.small_disk import make_read_only, make_writable, small_disk
from tests.support.waiting import wait_until


def fault(house: House, kind: str) -> dict[str, Any] | None:
    """That fault, as status.json has it."""
    faults = (house.read("status.json") or {"faults": []})["faults"]
    return next((one for one in faults if one["kind"] == kind), None)


def begins(house: House, kind: str) -> dict[str, Any]:
    """Wait until status.json has it."""
    found = wait_until(lambda: fault(house, kind), what=lambda: f"{kind} in status.json; {house.tail()}")
    assert found is not None
    return found


def ends(house: House, kind: str) -> None:
    """Wait until it is over, and was said once when it began and once when it ended."""
    wait_until(lambda: not fault(house, kind), what=lambda: f"{kind} to be over; {house.tail()}")
    assert house.said().count(f"fault: {kind}: ") == 1, house.said()
    wait_until(lambda: f"s: {kind}: " in house.said(), what=lambda: f"the end of {kind} in the log; {house.said()}")


def test_a_full_disk_holds_work_and_status_says_so_from_its_reserve_also_after_a_restart(house: House):
    with small_disk(house.spool) as disk:
        try:
            house.settings = {"rescan_seconds": 0.3, "min_free_bytes": 1_048_576}
            house.role("gated", GATED.format(gate=house.root / "gate"), workspace="none")
            house.role("worker", "true", workspace="none")
            house.start()
            house.request("running", role="gated")
            house.at_work("running")
            wait_until((house.spool / ".status.reserve").exists, what="the reserve")
            waiting = house.spool / "incoming/.later.json"
            waiting.write_text(json.dumps({"task_id": "later", "title": "t", "role": "worker"}), encoding="utf-8")
            disk.fill()
            found = begins(house, "no_space")
            assert found["holds_work"]
            assert "haikud prune" in found["cure"]
            assert (house.read("status.json") or {})["daemon"]["state"] == "faulted"
            waiting.rename(waiting.with_name("later.json"))
            told = house.haikud("status").stdout
            assert "no_space" in told
            assert "Cure: free some room" in told
            assert house.read("plans/later/plan.json") is None
            assert (house.spool / "incoming/later.json").exists()  # not even taken
            house.send(signal.SIGTERM)
            assert house.ended() == 0
            house.start(wait=False)
            wait_until(
                lambda: house.said().count("fault: no_space: ") == 2, what=lambda: f"the fault again; {house.tail()}"
            )
            assert house.process is not None
            assert house.process.poll() is None
            disk.free()
            assert house.response("later")["status"] == "success"
            (house.root / "gate").touch()
            assert house.response("running")["status"] == "success"
            wait_until(lambda: not fault(house, "no_space"), what=lambda: f"the end of the fault; {house.tail()}")
            assert (house.read("status.json") or {})["daemon"]["state"] == "running"
            assert house.said().count("s: no_space: ") == 1
            wait_until((house.spool / ".status.reserve").exists, what="the reserve to be made again")
        finally:
            house.close()


def test_a_read_only_spool_is_survived_and_seen_by_status_itself(house: House):
    with small_disk(house.spool):
        try:
            house.settings = {"rescan_seconds": 0.3}
            house.role("gated", GATED.format(gate=house.root / "gate"), workspace="none")
            house.start()
            house.request("running", role="gated")
            house.at_work("running")
            make_read_only(house.spool)
            wait_until(
                lambda: "fault: read_only: " in house.said(), what=lambda: f"the fault in the log; {house.tail()}"
            )
            picture = json.loads(house.haikud("status", "--json").stdout)
            assert picture["filesystem"]["read_only"]
            assert [one["kind"] for one in picture["faults"]] == ["read_only"]
            assert picture["daemon_pid"]
            told = house.haikud("status").stdout
            assert "seen by this command" in told
            assert "remount,rw" in told
            (house.root / "gate").touch()
            make_writable(house.spool)
            assert house.response("running")["status"] in {"success", "failure"}
            ends(house, "read_only")
        finally:
            house.close()


def test_a_daemon_on_a_read_only_spool_ends_with_a_clear_word(house: House):
    with small_disk(house.spool):
        make_read_only(house.spool)
        try:
            house.start(wait=False)
            assert house.ended() == 1
        finally:
            make_writable(house.spool)
        said = house.said()
    assert "Traceback" not in said
    assert "read_only" in said
    assert "remount,rw" in said
