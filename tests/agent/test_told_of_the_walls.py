"""Who runs against the walls is told of them: the model before it begins, a person by the error report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.support.haiku_orders import make_order
from tests.support.repository import make_repository

from haikud.agent.haiku.prompt import first_message
from haikud.agent.reports.held_back import held_back_hint
from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy


def test_the_model_hears_of_the_sandbox_that_its_commands_run_in(tmp_path: Path):
    order = make_order(tmp_path, make_repository(tmp_path / "project"), "http://127.0.0.1:9", "Add a button")
    assert "sandbox" not in first_message(order)

    def told(mode: str, network: str) -> str:
        policy = Policy(mode=mode, settings=SandboxSettings.model_validate({"network": network}))
        return first_message(dataclasses.replace(order, sandbox=Sandbox(policy)))

    assert "only listed hosts" in told("bwrap", "listed")
    assert "listen on a port" not in told("bwrap", "listed")
    assert "listen on a port" in told("landlock", "off")
    assert "There is no network" in told("landlock", "off")
    assert "etwork" not in told("bwrap", "open")


@pytest.mark.parametrize(
    "line",
    [
        "  error: 'listen EACCES: permission denied 127.0.0.1'",
        "curl: (56) CONNECT tunnel failed, response 403",
        "touch: cannot touch '/usr/x': Read-only file system",
    ],
)
def test_a_report_names_the_line_that_looks_like_the_sandbox(line: str):
    hint = held_back_hint("landlock", f"1..2\n{line}\nnot ok")
    assert hint is not None
    assert line.strip()[:30] in hint.replace('\\"', '"')
    assert held_back_hint("none", line) is None
    assert held_back_hint("bwrap", "AssertionError: 1 != 2") is None
