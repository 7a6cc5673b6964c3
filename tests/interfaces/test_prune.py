"""haikud prune, as people and programs see it."""

from __future__ import annotations

import json

import pytest
from tests.interfaces.conftest import FakeSpool


@pytest.fixture
def finished(spool: FakeSpool) -> FakeSpool:
    spool.admit("done", "running")
    spool.finish("done", "success")
    spool.admit("open", "queued")
    return spool


def test_what_would_go_is_said_and_then_goes(finished: FakeSpool):
    assert finished.run("prune", "--older-than", "1d").stdout == "0 plans pruned, 0 kept\n"
    done = finished.run("prune", "--older-than", "0s", "--dry-run")
    assert done.stdout == "would prune done\n1 plan to prune, 0 kept\n"
    assert finished.layout.plan("done").plan.exists()
    done = finished.run("prune", "--older-than", "0s", "--json")
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "plans": [
            {
                "plan": "done",
                "pruned": True,
                "why": None,
                "tasks": [{"ref": "done", "kept": None, "branch": ""}],
            }
        ],
        "rejected": [],
    }
    assert not finished.layout.plan("done").folder.exists()
    assert not (finished.layout.responses / "done.json").exists()
    assert (finished.layout.pruned / "done").exists()
    assert finished.layout.plan("open").plan.exists()


def test_what_stays_is_said_and_why(finished: FakeSpool):
    (finished.layout.control / "done.retry").touch()
    done = finished.run("prune", "--older-than", "0s")
    assert done.exit_code == 0
    assert done.stdout.startswith("kept done: someone has just asked for it")
    assert done.stdout.endswith("0 plans pruned, 1 kept\n")


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1.5d", "99999999999d", "1y"])
def test_an_age_that_is_none_is_a_usage_error(finished: FakeSpool, age: str):
    done = finished.run("prune", "--older-than", age)
    assert done.exit_code == 2
    assert "is no age; write 30d" in done.stderr


def test_an_age_beyond_all_time_is_said(finished: FakeSpool):
    done = finished.run("prune", "--older-than", "999999w")
    assert done.exit_code == 2
    assert "the first year" in done.stderr
