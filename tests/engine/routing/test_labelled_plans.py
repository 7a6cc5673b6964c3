"""Twenty plans that were labelled before there were rules route as labelled (docs/adr/0008-routing.md has the scores)."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.repository import make_repository

from haikud.contracts.plan import Plan
from haikud.contracts.settings import default_settings
from haikud.engine.admission.prepare import prepare_plan
from haikud.engine.routing.speaking import advice_for
from haikud.engine.routing.tables import CHECKLIST
from haikud.roles.catalogue import find_roles

DATA = Path(__file__).resolve().parents[2] / "data" / "routing"
LABELS: dict[str, dict[str, dict[str, str]]] = yaml.safe_load((DATA / "labels.yaml").read_text(encoding="utf-8"))
HALVES: dict[str, Any] = json.loads((DATA / "halves.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("routing") / "project")


def admitted(name: str, repository: Path, **settings: Any) -> Plan:
    return prepare_plan(
        (DATA / "plans" / name).read_bytes(),
        name,
        "0" * 16,
        settings=default_settings().model_copy(update={"default_repository": str(repository), **settings}),
        spool_root=repository.parent / "spool",
        now=datetime(2026, 1, 2, tzinfo=UTC),
        catalogue=find_roles(),
        is_taken=lambda _: False,
    )


def test_the_halves_are_what_the_seed_makes_of_the_plans():
    names = sorted(path.name for path in (DATA / "plans").iterdir())
    assert sorted(LABELS) == names
    random.Random(HALVES["seed"]).shuffle(names)  # noqa: S311 - a lot, no secret
    assert (HALVES["tuning"], HALVES["held_out"]) == (sorted(names[:10]), sorted(names[10:]))


@pytest.mark.parametrize("half", ["tuning", "held_out"])
def test_they_route_as_labelled_with_reasons_and_warn_of_no_other(half: str, repository: Path):
    for name in HALVES[half]:
        plan = admitted(name, repository)
        labels = LABELS[name]
        warned = []
        for task in plan.tasks:
            label = labels.get("*") or labels[task.id]
            advice = advice_for(task, find_roles()[task.role])
            assert (advice.model if advice else "haiku") == label["model"], (name, task.id, label["why"], advice)
            assert task.advice == (advice.record() if advice else None)
            if advice:
                assert tuple(check.name for check in advice.checklist) == CHECKLIST
                assert all(check.reason for check in advice.checklist)
                assert advice.grounds
            if label["model"] == "sonnet":
                warned.append(task.ref)
        assert [w.split()[1] for w in plan.warnings if w.startswith("routing:")] == warned


def test_with_routing_off_it_neither_speaks_nor_records(repository: Path):
    plan = admitted("14-faster-dashboard.yaml", repository, routing="off")
    assert plan.warnings == []
    assert plan.tasks[0].advice is None
