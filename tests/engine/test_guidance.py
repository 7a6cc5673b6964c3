"""Guidance is never lost and never answers the wrong question; a question that nobody answers is raised again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import GATED, House
from tests.support.waiting import wait_until

ASKS = '[ -n "$HAIKUD_GUIDANCE_FILE" ] || { echo "which header?"; exit 79; }\n'
HEARD = 'cp "$HAIKUD_GUIDANCE_FILE" "$HAIKUD_OUT/heard"\n'


@pytest.fixture
def house(tmp_path: Path):
    made = House(tmp_path)
    made.settings = {"settle_seconds": 5.0}  # what is being written is not taken for finished
    gate = GATED.format(gate=f"{made.root}/gate-$HAIKUD_REF")
    made.role("asks", ASKS + HEARD, workspace="none")
    made.role("gated", f'[ -n "$HAIKUD_GUIDANCE_FILE" ] || {{ {gate}; }}\n{ASKS}{HEARD}', workspace="none")
    twice = "grep -q '^## ' \"$HAIKUD_GUIDANCE_FILE\" || { echo 'which footer?'; exit 79; }\n"
    made.role("twice", ASKS + twice + HEARD, workspace="none")
    made.role("fails", f'{ASKS}{HEARD}[ -e "{made.root}/mended" ]', workspace="none")
    yield made
    made.close()


def asked(house: House, ref: str, number: int = 1) -> dict[str, Any]:
    """The payload of a task's question, waited for."""

    def look() -> dict[str, Any] | None:
        found = house.read(f"escalations/{ref}.json")
        return found if found and found["payload"]["escalation_id"] == f"{ref}.e{number}" else None

    found = wait_until(look, seconds=60, what=lambda: f"{ref}.e{number}; {house.tail()}")
    assert found is not None
    payload = found["payload"]
    assert isinstance(payload, dict)
    return payload


def heard(house: House, ref: str, attempt: int) -> str:
    """The answers as the agent of that attempt had them before it."""
    return (house.task_folder(ref) / f"attempt-{attempt}" / "out" / "heard").read_text()


def reason_for(house: House, name: str) -> str:
    """Why a file was set aside."""
    wait_until(lambda: name in house.rejected(), seconds=30, what=lambda: f"{name} in rejected/; {house.tail()}")
    return str(house.rejected()[name]["reason"])


def open_gate(house: House, ref: str) -> None:
    (house.root / f"gate-{ref}").touch()


def test_an_answer_is_for_the_question_that_was_there_to_be_read_whatever_the_clocks_say(house: House):
    house.start()
    house.request("early", role="gated")
    house.at_work("early")
    house.drop("guidance", "early.md", "the first")
    assert "early is running; no question of it is open" in reason_for(house, "early.md")
    with (house.spool / "guidance/early.txt").open("w") as slow:  # begun before the question, ended after it
        slow.write("the ")
        slow.flush()
        open_gate(house, "early")
        assert asked(house, "early")["open_since"]
        assert "it was there before early asked its question" in reason_for(house, "early.txt")
        slow.write("second")
    assert (house.spool / "rejected/early.txt").read_text() == "the second"
    assert house.state("early") == "escalated"
    ledger = (house.spool / "plans/early/ledger.jsonl").read_text()
    assert "set aside: it was there before" in ledger

    house.request("down", role="gated")
    house.at_work("down")
    house.kill()  # the rest happens while no daemon runs
    house.drop("guidance", "down.txt", "too early")
    open_gate(house, "down")
    result = house.task_folder("down") / "attempt-1/result.json"
    wait_until(result.exists, seconds=30, what="the agent's question")
    answer = house.spool / "guidance/.early.txt"  # to a question that was published; written "in 2001"
    answer.write_text("the third\n")
    os.utime(answer, (10**9, 10**9))
    answer.rename(house.spool / "guidance/early.txt")
    house.start()
    assert house.response("early")["status"] == "success"
    assert heard(house, "early", 2) == "the third\n"
    asked(house, "down")
    assert "down is running; no question of it is open" in reason_for(house, "down.txt")
    house.drop("guidance", "down.txt", "in time")
    assert house.response("down")["status"] == "success"
    house.drop("guidance", "down.txt", "in time")
    assert "down is succeeded; no question of it is open" in reason_for(house, "down.1.txt")


def test_no_answer_is_lost_over_questions_failures_and_broken_files(house: House):
    house.start()
    house.request("two", role="twice")
    asked(house, "two")
    used = {"model": "sonnet", "input_tokens": 10_000, "output_tokens": 2_000, "thoughts": 3}
    told = {"cost_usd": 0.01, "main_agent": used}
    house.drop("guidance", "two.json", {"guidance": "the wide one", "metadata": told})
    assert asked(house, "two", 2)["reason"] == "which footer?"
    house.drop("guidance", "two.txt", "none\n")
    payload = house.response("two")["payload"]
    assert heard(house, "two", 3) == (
        "## two.e1: which header?\nthe wide one\n\n## two.e2: which footer?\nnone\n"  # all of them: it begins anew
    )
    first, second = payload["escalations"]
    assert (first["guidance"], first["metadata"], second["guidance"]) == ("the wide one", told, "none")
    assert payload["agent_costs"]["main_agent"]["cost_usd"] == payload["agent_costs"]["total_cost"] == 0.04
    assert "thoughts is not used" in first["warnings"][0]

    house.request("tried", role="fails")
    asked(house, "tried")
    house.drop("guidance", "tried.txt", "this one")
    assert house.response("tried")["status"] == "failure"
    (house.root / "mended").touch()
    house.drop("control", "tried.retry", "")
    wait_until(lambda: (house.read("responses/tried.json") or {}).get("status") == "success", what=house.tail)
    assert heard(house, "tried", 3) == "this one\n"

    for ref in ("lost", "stuck"):
        house.request(ref, role="asks")
        asked(house, ref)
    (house.task_folder("stuck") / "guidance-0001.json").mkdir()
    house.drop("guidance", "stuck.txt", "that cannot be written, and holds up nobody else's")
    wait_until(lambda: "fault: other: taking guidance/stuck.txt" in house.said(), seconds=20, what=house.tail)
    house.drop("control", "all.pause", "")
    wait_until(lambda: house.read("queue.json"), what="the pause")
    house.drop("guidance", "lost.txt", "soon gone")
    wait_until(lambda: house.state("lost") == "queued", what="the answer to be taken")
    (house.task_folder("lost") / "guidance-0001.json").write_text("{torn")
    house.drop("control", "all.resume", "")
    again = asked(house, "lost", 2)
    assert again["reason"].startswith("Please answer once more: the answer to lost.e1 cannot be read")
    assert again["blocker"] == "which header?"
    house.drop("guidance", "lost.txt", "once more")
    assert house.response("lost")["status"] == "success"
    assert "once more" in heard(house, "lost", 2)
    assert "cannot be read any more" in heard(house, "lost", 2)
    (house.task_folder("stuck") / "guidance-0001.json").rmdir()
    assert house.response("stuck")["status"] == "success"


def test_an_unanswered_question_is_raised_again_and_a_restart_does_not_repeat_it(house: House):
    house.settings["escalations"] = {"raise_again_seconds": 1.0}
    house.start()
    house.request("slow", role="asks")
    first = asked(house, "slow")
    assert first["raised"] == 0
    path = house.spool / "escalations/slow.json"
    path.unlink()  # somebody took it away, and forgot it
    wait_until(lambda: "slow still asks (since " in house.said(), seconds=30, what=house.tail)
    ledger = house.spool / "plans/slow/ledger.jsonl"  # written after what it tells of
    wait_until(lambda: '"raised"' in ledger.read_text(), what="the ledger's line")
    house.kill()
    raised = house.read("escalations/slow.json")
    assert raised is not None
    payload = raised["payload"]
    assert (payload["open_since"], payload["reason"]) == (first["open_since"], "which header?")
    assert raised["timestamp"] > first["open_since"]
    assert payload["raised"] >= 1

    before = path.stat()
    (house.task_folder("slow") / "escalation-0001.json").unlink()  # it is written again
    house.settings["escalations"] = {"raise_again_seconds": 3600}
    house.start()
    status = house.read("status.json")
    assert status is not None
    wait_until(lambda: (house.read("status.json") or {})["tasks"][0]["raised"] == payload["raised"], what="the status")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    house.drop("guidance", "slow.txt", "the second")
    assert house.response("slow")["status"] == "success"
    assert not path.exists()
