"""The guide's "Cost Attribution" in a spool without a daemon: what admission and settlement leave there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.made import make_decision, make_result

from haikud.contracts.envelope import Response
from haikud.contracts.plan import Plan
from haikud.contracts.settings import Settings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.contracts.usage import UsageTotal
from haikud.costs.prices import PriceList
from haikud.engine.admission.prepare import first_decisions, prepare_plan
from haikud.engine.answers.publication import publish_final
from haikud.roles.catalogue import find_roles
from haikud.spool.durable import write_durably
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.store import Store

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MODEL = "claude-haiku-4-5"
GUIDES_SETTINGS = Settings.model_validate(
    {
        "models": {"haiku": MODEL, "sonnet": "claude-sonnet-4-5"},
        "prices": {"haiku": {"input": 0.80, "output": 4.00}, "sonnet": {"input": 3, "output": 15}},
        "routing": "off",
    }
)
MAIN = {"model": "sonnet", "input_tokens": 10_000, "output_tokens": 2_000}
AGENTS = {"auth": ("Implement auth page", 30_000, 5_000), "dashboard": ("Implement dashboard", 32_000, 5_500)}


class Room:
    """A spool without a daemon: what admission and settlement leave in it."""

    def __init__(self, root: Path, settings: Settings = GUIDES_SETTINGS) -> None:
        self.root = root
        self.settings = settings
        open_spool(root / "spool")
        self.layout = SpoolLayout(root / "spool")
        self.store = Store(self.layout)

    def admit(self, request: dict[str, Any]) -> Plan:
        plan = prepare_plan(
            json.dumps(request).encode(),
            "request.json",
            "0" * 16,
            settings=self.settings,
            spool_root=self.layout.root,
            now=NOW,
            catalogue=find_roles(),
            is_taken=lambda _: False,
        )
        self.store.admit(plan, b"{}", first_decisions(plan, NOW))
        return plan

    def settle(self, plan: Plan, name: str, tokens: tuple[int, int], **decided: Any) -> Response | None:
        """One attempt with one call of so many tokens in and out; the plan's answer after its last task."""
        task = plan.task(name)
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1]}
        entry = PriceList.of(self.settings).price_message(MODEL, usage, NOW)
        used = UsageTotal().plus_entry(entry)
        result = make_result(ref=task.ref, usage=used, usage_by_model={MODEL: used})
        folder = self.layout.task(task.ref).attempt(1).folder
        folder.mkdir()
        write_durably(folder / "result.json", dump(result))
        self.store.decide(make_decision(TaskState.RUNNING, number=2, ref=task.ref))
        ended = make_decision(number=3, ref=task.ref, outcome=AttemptOutcome.COMPLETED, **decided)
        self.store.decide(ended)
        final = [self.store.last_decision(one.ref) for one in plan.tasks]
        is_last = all(one is not None and one.state is TaskState.SUCCEEDED for one in final)
        return publish_final(self.store, plan, task, ended, is_last=is_last).plan


def guides_request(repository: Path) -> dict[str, Any]:
    tasks = [{"id": name, "title": title, "files": [f"src/{name}.py"]} for name, (title, _, _) in AGENTS.items()]
    return {"task_plan": {"id": "p", "repository": str(repository), "tasks": tasks, "metadata": {"main_agent": MAIN}}}
