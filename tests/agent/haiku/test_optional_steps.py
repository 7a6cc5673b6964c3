"""The built-in agent is told what may be left undone, and only where there is such a thing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.support.haiku_orders import make_order
from tests.support.repository import make_repository

from haikud.agent.haiku.prompt import OPTIONAL_STEPS, first_message


def test_optional_steps_and_tests_are_told(tmp_path: Path):
    order = make_order(tmp_path, make_repository(tmp_path / "project"), "http://127.0.0.1:9", "Add a button")
    assert "(optional)" not in first_message(order)
    context = order.assignment.context.model_copy(update={"optional_test_commands": ["make slow", "make e2e"]})
    steps = ["Add it", "Add a tooltip (optional)"]
    assignment = order.assignment.model_copy(update={"steps": steps, "context": context})
    message = first_message(dataclasses.replace(order, assignment=assignment))
    assert f"- Add a tooltip (optional)\n{OPTIONAL_STEPS}\n" in message
    assert "Tests that need not pass: make slow; make e2e" in message
