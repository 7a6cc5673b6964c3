"""The guide's "Cost Attribution", end to end.

A request that tells the main agent's own tokens, the guide's prices as settings, two finished tasks: the answer has the
guide's figures. What the guide says of Sonnet does not follow from its own tokens (docs/costs.md).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

from tests.support.guides_costs import AGENTS, MAIN, MODEL, NOW, Room, guides_request
from tests.support.made import make_task
from tests.support.repository import make_repository

from haikud.contracts.completion import EscalationPayload
from haikud.contracts.envelope import MessageType, Metrics, Response, Status
from haikud.contracts.guidance import Guidance, GuidanceAction
from haikud.contracts.main_agent import MainAgentCost
from haikud.contracts.plan import Plan, RequestShape
from haikud.spool.durable import write_durably
from haikud.spool.models import dump


def test_the_guides_prices_give_the_guides_figures_and_an_honest_comparison(tmp_path: Path):
    room = Room(tmp_path)
    with mock.patch.object(os, "fsync"):
        plan = room.admit(guides_request(make_repository(tmp_path / "project")))
        assert plan.warnings == []
        assert room.settle(plan, "auth", AGENTS["auth"][1:]) is None
        room.settle(plan, "dashboard", AGENTS["dashboard"][1:])
    answer = json.loads((room.layout.responses / "p.json").read_bytes())
    assert answer["payload"]["agent_costs"] == {
        "main_agent": {"model": "sonnet", "input_tokens": 10_000, "output_tokens": 2_000, "cost_usd": 0.06},
        "haiku_agent_1": {
            "model": MODEL,
            "task": "Implement auth page",
            "input_tokens": 30_000,
            "output_tokens": 5_000,
            "cost_usd": 0.044,
        },
        "haiku_agent_2": {
            "model": MODEL,
            "task": "Implement dashboard",
            "input_tokens": 32_000,
            "output_tokens": 5_500,
            "cost_usd": 0.0476,
        },
        "total_cost": 0.1516,
        "comparison": {"if_all_sonnet": 0.4035, "savings_usd": 0.2519, "savings_percent": 62.4},
    }
    page = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
    assert json.loads(page.partition("```json\n")[2].partition("```")[0]) == answer["payload"]["agent_costs"]
    assert answer["metrics"]["cost_usd"] == 0.0916  # haikud's own calls: the main agent's are on no budget of ours
    for name in AGENTS:
        whole = json.loads((room.layout.responses / f"p.{name}.json").read_bytes())
        assert "main_agent" not in whole["payload"]["agent_costs"]  # else it would count once for every task


def test_planning_and_answers_are_one_entry(tmp_path: Path):
    """Of a single task, whose own answer is the plan's."""
    room = Room(tmp_path)
    with mock.patch.object(os, "fsync"):
        plan = room.admit(
            {"task_id": "q", "title": "Do it", "agent": "parallel-task-executor", "metadata": {"main_agent": MAIN}}
            | {"repository": str(make_repository(tmp_path / "project"))}
        )
        assert plan.shape is not RequestShape.TASK_PLAN
        paths = room.layout.task("q")
        asked = EscalationPayload(
            escalation_id="q.e1", ref="q", title="Do it", reason="which?", blocker="which?", answer_with="so"
        )
        question = Response(
            timestamp=NOW,
            sender="x",
            receiver="main-agent",
            message_type=MessageType.ESCALATION,
            correlation_id="q",
            status=Status.BLOCKED,
            payload=asked.model_dump(mode="json"),
            metrics=Metrics(duration_seconds=0, cost_usd=0, tokens_used=0),
        )
        write_durably(paths.escalation(1), dump(question))
        own = MainAgentCost(model="opus", input_tokens=100, output_tokens=10, cost_usd=0.5, sonnet_cost_usd=0.2)
        given = {"number": 1, "ref": "q", "escalation_id": "q.e1", "at": NOW, "token": "1" * 16, "text": "This one"}
        guidance = Guidance(**given, action=GuidanceAction.CONTINUE, main_agent=own)
        write_durably(paths.guidance(1), dump(guidance))
        room.settle(plan, "q", (1000, 1000), escalation=1)
    payload = json.loads((room.layout.responses / "q.json").read_bytes())["payload"]
    costs = payload["agent_costs"]
    assert costs["main_agent"] == {
        "model": "sonnet, opus",
        "input_tokens": 10_100,
        "output_tokens": 2_010,
        "cost_usd": 0.56,
    }
    assert costs["total_cost"] == 0.5648
    assert costs["comparison"]["if_all_sonnet"] == 0.06 + 0.2 + 0.018
    assert payload["escalations"][0]["main_agent"]["cost_usd"] == 0.5


def test_a_main_agent_that_nobody_can_price_is_told_and_counts_on_neither_side(tmp_path: Path):
    room = Room(tmp_path)
    request = guides_request(make_repository(tmp_path / "project"))
    request["task_plan"]["metadata"]["main_agent"] = {**MAIN, "model": "gpt-9"}
    with mock.patch.object(os, "fsync"):
        plan = room.admit(request)
        assert len(plan.warnings) == 1
        for name in AGENTS:
            room.settle(plan, name, AGENTS[name][1:])
    payload = json.loads((room.layout.responses / "p.json").read_bytes())["payload"]
    costs = payload["agent_costs"]
    unpriced = {"cost_usd": None, "unpriced_tokens": 12_000}
    assert costs["main_agent"] == {"model": "gpt-9", "input_tokens": 10_000, "output_tokens": 2_000, **unpriced}
    assert (costs["total_cost"], costs["comparison"]["if_all_sonnet"]) == (0.0916, 0.3435)
    assert "no price is known" in payload["warnings"][0]


def test_rubbish_there_loses_no_plan(tmp_path: Path):
    room = Room(tmp_path)
    request = guides_request(make_repository(tmp_path / "project"))
    request["task_plan"]["metadata"]["main_agent"] = {"model": ["x"], "input_tokens": "many", "cost_usd": -1}
    plan = room.admit(request)
    assert plan.main_agent is None
    assert len(plan.warnings) == 4
    assert plan.metadata["main_agent"]["input_tokens"] == "many"  # kept as it was dropped


def test_a_plan_of_an_older_version_has_no_main_agent():
    old = make_task().model_dump(mode="json")
    assert "main_agent" not in old
    record = {"id": "p", "shape": "task_plan", "correlation_id": "p", "admitted_at": "2026-01-01T00:00:00Z"}
    more = {"token": "0" * 16, "content_sha256": "0" * 64, "request_file": "request.json", "dropped_as": "p.json"}
    assert Plan.model_validate({**record, **more, "tasks": [old]}).main_agent is None
