"""The daemon is killed before its first, second, ... change of the spool; the next one ends what was begun, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

DYING = Path(__file__).with_name("dying_daemon.py")
STEP = int(os.environ.get("HAIKUD_CRASH_STEP", "37"))
"""1 tries every change; the default a sample, shifted from scenario to scenario."""

MOST = 400


@pytest.fixture
def crashing(tmp_path: Path):
    house = House(tmp_path)
    house.role("worker", 'echo "I ran"', workspace="none")
    house.role("asks", '[ -n "$HAIKUD_GUIDANCE_FILE" ] || { echo "which one?"; exit 79; }', workspace="none")
    house.start()
    house.send(signal.SIGTERM)
    house.ended()
    yield house
    house.close()


def dies(house: House, before: int, done: object) -> bool:
    """Run a daemon that dies before that change; whether it did before `done` came true."""
    with (house.root / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(DYING), str(before), str(house.spool), "--config", str(house.config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=house.base_environment(),
            cwd=house.root,
            start_new_session=True,
        )
    house.processes.append(process)
    wait_until(lambda: process.poll() is not None or done(), what=f"its death; {house.tail()}")  # type: ignore[operator]
    died = process.poll() is not None
    if not died:
        process.terminate()
    code = process.wait(timeout=20)
    assert code == (-signal.SIGKILL if died else 0), house.said()[-3000:]
    return died


def finish(house: House, plan: str, answer: str | None = None) -> dict:
    """Let an ordinary daemon end what is left."""
    house.start()
    if answer is not None:
        wait_until(
            lambda: house.read(f"escalations/{plan}.json") or house.read(f"responses/{plan}.json"), what="the question"
        )
        if house.read(f"responses/{plan}.json") is None and not list((house.spool / "guidance").glob("*")):
            house.drop("guidance", f"{plan}.txt", answer)
    response = house.response(plan)
    house.send(signal.SIGTERM)
    assert house.ended() == 0
    return response


def check_tidy(house: House, plan: str, tasks: list[str]) -> None:
    for folder in ("incoming", "guidance", "control"):
        assert [path.name for path in (house.spool / folder).iterdir()] == []
    assert [path.name for path in (house.spool / "plans").glob(".*.new")] == []
    assert list((house.spool / "rejected").iterdir()) == []
    for task in tasks:
        ref = plan if task == plan else f"{plan}.{task}"
        assert house.state(ref) == "succeeded"
        decisions = house.decisions(plan, task)
        assert [one["number"] for one in decisions] == list(range(1, len(decisions) + 1))
        assert decisions[-1]["state"] == "succeeded"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_plan_of_two_tasks_survives_a_death_at_any_point(crashing: House):
    for number in range(1, MOST, STEP):
        plan = f"p{number}"
        tasks = [
            {"id": "a", "title": "A", "role": "worker"},
            {"id": "b", "title": "B", "role": "worker", "dependencies": ["a"]},
        ]
        crashing.drop("incoming", f"{plan}.json", {"task_plan": {"id": plan, "tasks": tasks}})
        died = dies(crashing, number, (crashing.spool / "tasks/succeeded" / f"{plan}.b").is_symlink)
        response = finish(crashing, plan)
        assert response["status"] == "success", crashing.tail()
        assert [task["status"] for task in response["payload"]["tasks"]] == ["success", "success"]
        for task in ("a", "b"):
            assert crashing.log(f"{plan}.{task}").count("I ran") == 1, crashing.tail()
        check_tidy(crashing, plan, ["a", "b"])
        if not died:
            return
    pytest.fail("it is still dying")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_question_and_its_answer_survive_a_death_at_any_point(crashing: House):
    for number in range(4, MOST, STEP):
        plan = f"q{number}"
        crashing.request(plan, role="asks")
        question = crashing.spool / "escalations" / f"{plan}.json"

        answered: list[str] = []

        def done(plan: str = plan, question: Path = question, answered: list[str] = answered) -> bool:
            if question.exists() and not list((crashing.spool / "guidance").glob("*")) and not answered:
                answered.append(plan)
                crashing.drop("guidance", f"{plan}.txt", "the first")
            return (crashing.spool / "tasks/succeeded" / plan).is_symlink()

        died = dies(crashing, number, done)
        response = finish(crashing, plan, None if answered else "the first")
        assert response["status"] == "success", crashing.tail()
        assert response["payload"]["attempts"] <= 3
        check_tidy(crashing, plan, [plan])
        assert not question.exists()
        if not died:
            return
    pytest.fail("it is still dying")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cancel_that_was_taken_is_carried_out_whenever_the_daemon_dies(crashing: House):
    crashing.role("sleeper", "sleep 600", workspace="none")
    for number in range(7, MOST, STEP):
        plan = f"c{number}"
        crashing.request(plan, role="sleeper")
        runner = crashing.spool / "plans" / plan / plan / "attempt-1/events.jsonl"
        asked: list[str] = []

        def done(plan: str = plan, runner: Path = runner, asked: list[str] = asked) -> bool:
            if runner.exists() and not asked:
                asked.append(plan)
                crashing.drop("control", f"{plan}.cancel", "")
            return (crashing.spool / "tasks/cancelled" / plan).is_symlink()

        died = dies(crashing, number, done)
        if not asked:
            crashing.drop("control", f"{plan}.cancel", "")
            crashing.start()
            wait_until(lambda plan=plan: crashing.read(f"responses/{plan}.json") or crashing.rejected(), what="an end")
            if crashing.rejected():  # it came before the request: that is an answer too
                for path in (crashing.spool / "rejected").iterdir():
                    path.unlink()
                crashing.drop("control", f"{plan}.cancel", "")
            crashing.response(plan)
            crashing.send(signal.SIGTERM)
            crashing.ended()
        response = finish(crashing, plan)
        assert response["status"] == "cancelled", crashing.tail()
        assert crashing.state(plan) == "cancelled"
        assert list((crashing.spool / "control").iterdir()) == []
        if not died:
            return
    pytest.fail("it is still dying")
