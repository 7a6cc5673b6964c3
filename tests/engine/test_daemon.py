"""The daemon seen from outside, for what no acceptance test shows: plans as a whole, reassignment, trouble, budgets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

from haikud.spool.taken import new_token, taken_name

GATED = 'touch "$HAIKUD_OUT/here"; while [ ! -e "{gate}" ]; do sleep 0.05; done'


@pytest.fixture
def house(tmp_path: Path):
    made = House(tmp_path)
    made.role("worker", "true", workspace="none")
    made.role("breaks", f'[ -e "{made.root}/mended" ]', workspace="none")
    made.role("gated", GATED.format(gate=made.root / "gate"), workspace="none")
    yield made
    made.close()


def plan(house: House, name: str, *tasks: dict[str, Any]) -> None:
    given = [{"title": f"Do {task['id']}", "role": "worker", **task} for task in tasks]
    house.drop("incoming", f"{name}.json", {"task_plan": {"id": name, "tasks": given}})


def begun(house: House, plan_id: str, task: str, attempt: int = 1) -> None:
    here = house.spool / f"plans/{plan_id}/{task}/attempt-{attempt}/out/here"
    wait_until(here.exists, what=f"{task} to be at work; {house.tail()}")


def reach(house: House, ref: str, state: str) -> None:
    wait_until(lambda: house.state(ref) == state, what=f"{ref} to be {state}; {house.tail()}")


def test_a_whole_plan_is_retried_with_those_that_failed_for_its_sake(house: House):
    house.start()
    tasks = [{"id": "a", "role": "breaks"}, {"id": "b", "dependencies": ["a"]}, {"id": "c"}]
    plan(house, "p", *tasks)
    response = house.response("p")
    assert response["status"] == "partial"
    assert [one["status"] for one in response["payload"]["tasks"]] == ["failure", "failure", "success"]
    report = house.response("p.b")["payload"]["error_report"]
    assert report["type"] == "dependency_error"

    house.drop("control", "p.b.retry", "")
    wait_until(house.rejected, what="a retry that cannot help to be set aside")
    assert "retry the whole plan" in house.rejected()["p.b.retry"]["reason"]

    (house.root / "mended").touch()
    house.drop("control", "p.retry", "")
    wait_until(lambda: (house.read("responses/p.json") or {}).get("status") == "success", what="the new answer")
    assert house.response("p.b")["status"] == "success"
    assert len(house.decisions("p", "c")) == 3  # it was left alone
    old = house.read("plans/p/response.1.json")
    assert old is not None
    assert old["status"] == "partial"


def test_a_whole_plan_is_cancelled_and_nobody_fails_of_it(house: House):
    house.start()
    plan(house, "p", {"id": "a", "role": "gated"}, {"id": "b", "dependencies": ["a"]}, {"id": "c", "role": "gated"})
    begun(house, "p", "a")
    begun(house, "p", "c")
    house.drop("control", "p.cancel", "")
    response = house.response("p")
    assert response["status"] == "cancelled"
    assert {one["status"] for one in response["payload"]["tasks"]} == {"cancelled"}
    wait_until(lambda: not list((house.spool / "control").iterdir()), what="the control to be finished")


def test_a_plan_is_paused_and_resumed_and_waiting_tasks_wait_again(house: House):
    house.settings = {"max_agents": 1}
    house.start()
    plan(house, "p", {"id": "a", "role": "gated"}, {"id": "b"}, {"id": "c", "dependencies": ["b"]})
    begun(house, "p", "a")
    house.drop("control", "p.b.pause", "")
    reach(house, "p.b", "paused")
    house.drop("control", "p.c.pause", "")
    reach(house, "p.c", "paused")
    (house.root / "gate").touch()
    reach(house, "p.a", "succeeded")
    house.drop("control", "p.resume", "")
    assert house.response("p")["status"] == "success"
    assert [one["state"] for one in house.decisions("p", "c")][:3] == ["waiting", "paused", "waiting"]


def test_an_answer_may_reassign_start_afresh_or_cancel(house: House):
    house.role("asks", 'echo "who?"; exit 79', workspace="none")
    house.start()
    for name in ("moved", "again", "dropped"):
        house.request(name, role="asks")
        wait_until(lambda name=name: house.read(f"escalations/{name}.json"), what="the question")
    question = house.read("escalations/moved.json")
    assert question is not None
    assert question["payload"]["escalation_id"] == "moved.e1"
    assert "who?" in question["payload"]["reason"]

    house.drop("guidance", "moved.json", {"action": "reassign", "role": "worker", "escalation_id": "moved.e1"})
    moved = house.response("moved")
    assert (moved["status"], moved["sender"]) == ("success", "worker")

    said = {"at": "2026-01-01T00:00:00Z", "attempt": 1, "kind": "user"}
    (house.task_folder("again") / "transcript.jsonl").write_text(json.dumps(said) + "\n")
    house.drop("guidance", "again.json", {"payload": {"action": "retry", "guidance": "look again"}})
    wait_until(lambda: "again.e2" in json.dumps(house.read("escalations/again.json")), what="the second question")
    assert [one["fresh"] for one in house.decisions("again", "again") if one["state"] == "running"] == [False, True]
    assert house.decisions("again", "again")[-1]["fresh"]  # nobody has left the old conversation behind yet
    house.drop("guidance", "again.json", {"escalation_id": "again.e1", "guidance": "late"})
    wait_until(house.rejected, what="the late answer to be set aside")
    assert "again.e2" in next(iter(house.rejected().values()))["reason"]

    house.drop("guidance", "dropped.json", {"action": "cancel", "guidance": "not needed"})
    assert house.response("dropped")["status"] == "cancelled"
    assert "not needed" in json.dumps(house.response("dropped"))


def test_two_tasks_that_declare_the_same_file_run_one_after_the_other(house: House):
    house.role("edits", f"{GATED.format(gate=house.root / 'gate')}; date >> shared.txt; git add -A; git commit -qm x")
    house.start()
    for name in ("first", "second"):
        house.request(name, role="edits", files=["shared.txt"])
        wait_until(lambda name=name: house.state(name), what=f"{name} to be admitted")
    begun(house, "first", "first")
    wait_until(lambda: "waits for first" in house.said(), what="the second to wait")
    assert house.state("second") == "queued"
    (house.root / "gate").touch()
    assert house.response("second")["status"] == "success"
    assert "shared.txt" in (house.spool / "plans/second/ledger.jsonl").read_text(encoding="utf-8")


def test_a_spent_budget_asks_and_an_answer_with_an_unknown_role_leaves_the_question_open(house: House):
    house.role("dear", "true", workspace="none", credential=True)
    house.start()
    house.request("broke", role="dear", max_cost_usd=0)
    wait_until(lambda: house.read("escalations/broke.json"), what=f"the question; {house.tail()}")
    assert "budget" in json.dumps(house.read("escalations/broke.json"))
    for number, wrong in enumerate(({"role": "nobody"}, {"model": "no model"}), 1):
        house.drop("guidance", "broke.json", {"action": "reassign", **wrong})
        wait_until(lambda number=number: len(house.rejected()) == number, what="the answer to be set aside")
    reasons = " ".join(one["reason"] for one in house.rejected().values())
    assert "there is no role 'nobody'" in reasons
    assert "unknown model" in reasons
    assert house.read("escalations/broke.json")
    house.drop("guidance", "broke.json", {"action": "reassign", "role": "worker"})
    assert house.response("broke")["sender"] == "worker"


def test_what_the_spool_refuses_is_trouble_and_goes_on_when_it_heals(house: House):
    house.start()
    plans, away = house.spool / "plans", house.spool / "plans-away"
    plans.rename(away)
    house.request("later", role="worker")
    wait_until(lambda: (house.read("status.json") or {}).get("trouble"), what="the trouble in status.json")
    assert house.process is not None
    assert house.process.poll() is None
    away.rename(plans)
    assert house.response("later")["status"] == "success"
    wait_until(lambda: not (house.read("status.json") or {}).get("trouble"), what="the trouble to be over")
    assert house.said().count("fault: other: taking requests") == 1


def test_a_drop_folder_that_was_removed_or_replaced_is_served_again(house: House):
    house.settings = {"rescan_seconds": 0.3}
    house.start()
    incoming = house.spool / "incoming"
    incoming.rmdir()
    wait_until(incoming.is_dir, what="the folder to be back")
    house.request("one", role="worker")
    assert house.response("one")["status"] == "success"
    incoming.rename(house.spool / "old")
    incoming.mkdir()
    house.request("two", role="worker")
    assert house.response("two")["status"] == "success"


def test_stop_files_found_at_the_start_are_removed_and_not_obeyed(house: House):
    house.start()
    house.send(signal.SIGTERM)
    assert house.ended() == 0
    house.drop("control", "all.stop", "")
    house.drop("control", "all.stop-now", "")
    for number in range(130):  # more than are taken up at once
        (house.spool / "control" / taken_name(new_token(), f"nobody-{number}.cancel")).touch()
    (house.spool / "control" / taken_name(new_token(), "all.stop")).touch()  # by a daemon that died
    house.start()
    house.request("one", role="worker")
    assert house.response("one")["status"] == "success"
    wait_until(lambda: list((house.spool / "control").iterdir()) == [], what="the others to be set aside")


def test_status_shows_what_runs_and_what_finished(house: House):
    house.start()
    says = """echo '{"percent": 40, "message": "half"}' >> "$HAIKUD_OUT/events.jsonl"; """
    house.role("tells", says + GATED.format(gate=house.root / "gate"), workspace="none")
    house.request("shown", role="tells")

    def running() -> dict[str, Any] | None:
        tasks = (house.read("status.json") or {"tasks": []})["tasks"]
        return next((one for one in tasks if one["ref"] == "shown" and one["message"] == "half"), None)

    found = wait_until(running, what=f"the progress in status.json; {house.tail()}")
    assert found is not None
    assert (found["state"], found["percent"], found["phase"], found["attempt"]) == ("running", 40, "implement", 1)
    assert found["pid"]
    (house.root / "gate").touch()
    house.response("shown")
    wait_until(lambda: (house.read("status.json") or {})["counts"]["succeeded"] == 1, what="the count")
    house.send(signal.SIGTERM)
    house.ended()
    assert (house.read("status.json") or {})["daemon"]["state"] == "stopped"


def test_requests_without_an_id_get_their_own_also_when_they_come_together(house: House):
    for name in ("same.json", "same.yaml", "same.yml"):
        (house.spool / "incoming").mkdir(parents=True, exist_ok=True)
        house.drop("incoming", name, {"title": name, "role": "worker", "steps": ["x"]})
    house.start()
    for name in ("same", "same-2", "same-3"):
        assert house.response(name)["status"] == "success"


def test_a_command_that_comes_together_with_its_request_finds_it(house: House):
    (house.spool / "control").mkdir(parents=True)
    (house.spool / "incoming").mkdir()
    house.drop("control", "both.cancel", "")
    house.request("both", role="gated")
    house.start()
    assert house.response("both")["status"] == "cancelled"
    house.drop("control", "nobody.cancel", "")
    wait_until(house.rejected, what="the other one to be set aside")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small filesystem")
def test_a_full_disk_stops_nothing_for_good(house: House):
    house.spool.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", house.spool], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        house.start()
        house.request("first", role="gated")
        begun(house, "first", "first")
        ready = house.spool / "incoming/.second.json"
        ready.write_text(json.dumps({"task_id": "second", "title": "t", "role": "worker"}), encoding="utf-8")
        filler = house.spool / "filler"
        with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="space"):
            while True:
                stream.write(b"x" * 4096)
        ready.rename(ready.with_name("second.json"))
        (house.root / "gate").touch()
        wait_until(lambda: "fault: no_space: " in house.said(), what=f"the trouble; {house.tail()}")
        filler.unlink()
        assert house.response("second")["status"] == "success"
        assert house.response("first")["status"] == "success"
        house.send(signal.SIGTERM)
        assert house.ended() == 0
    finally:
        house.close()
        subprocess.run(["umount", "-l", house.spool], check=True)
