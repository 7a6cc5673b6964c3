"""`haikud check`: reasons for each task, exit codes, and the environment as it is; nothing is made, nothing dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.support.repository import git, make_repository

from haikud.engine.routing.tables import CHECKLIST
from haikud.interfaces.cli import haikud_command
from haikud.interfaces.readiness import programs

ROUTING = Path(__file__).resolve().parents[1] / "data" / "routing"
GOOD = {
    "task_id": "add-sub",
    "title": "Add subtraction",
    "files": ["calc.py"],
    "steps": ["Add sub(a, b) to calc.py", "Add a test to tests/test_calc.py"],
    "tests": ["sub(3, 1) is 2"],
    "test_command": "PYTHONPATH=. python3 -m unittest -q",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HAIKUD_SPOOL", "HAIKUD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    repository = make_repository(tmp_path / "project")
    monkeypatch.chdir(repository)
    return repository


def check(checkout: Path, document: Any, *options: str) -> Result:
    file = checkout.parent / "plan.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return CliRunner().invoke(haikud_command, ["check", str(file), *options])


def test_a_plan_that_is_ready_ticks_all_seven_boxes_and_leaves_no_trace(checkout: Path):
    before = sorted(checkout.parent.rglob("*"))
    done = check(checkout, GOOD)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line[4:].strip().partition(":")[0] for line in done.stdout.splitlines() if line[:4] == "  ok"] == [
        *CHECKLIST
    ]
    assert "looks like Haiku's work" in done.stdout
    assert "its steps name what they mean (Task Complexity)" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("ready: 1 task\n")
    assert git(checkout, "status", "--porcelain") == ""
    assert {path.name for path in set(checkout.parent.rglob("*")) - set(before)} == {"plan.json"}


def test_of_an_operation_without_a_model_only_the_environment_is_told(checkout: Path):
    done = check(checkout, {"agent": "issue-orchestrator", "task": "list_issues", "params": {}})
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert lines[0] == "  runs without a model: there is nothing to judge"
    assert [line.partition(":")[0] for line in lines[1:]] == [f"  ok  {CHECKLIST[-1]}"]


def test_a_judgement_is_exit_code_1_with_its_grounds_and_a_named_model_is_not(checkout: Path):
    tasks = [{**GOOD, "id": "sub"}, {"id": "how", "title": "Decide how to round", "dependencies": ["sub"]}]
    plan = {"task_plan": {"id": "round", "tasks": [{k: v for k, v in t.items() if k != "task_id"} for t in tasks]}}
    done = check(checkout, plan, "--json")
    assert done.exit_code == 1
    sub, how = json.loads(done.stdout)["tasks"]
    assert (sub["ready"], sub["looks_like"], how["ready"], how["looks_like"]) == (True, "haiku", False, "sonnet")
    assert how["grounds"][0] == {
        "weight": 5,
        "factor": "Decision Making",
        "says": "the title asks for a judgement: 'decide how to round'",
    }
    assert how["checklist"][5] == {
        "name": "No dependencies on other tasks",
        "ok": True,
        "reason": "after sub of its plan; the daemon keeps the order",
    }
    assert sub["estimated_tokens"]["assignment"] > 0
    assert sub["estimated_tokens"]["files"] == (checkout / "calc.py").stat().st_size // 4
    in_words = check(checkout, plan)
    assert in_words.exit_code == 1
    assert "not ready: 1 of 2 tasks look like Sonnet's; 1 with open boxes" in in_words.stdout
    assert check(checkout, {**GOOD, "title": "Decide how to round", "model": "sonnet"}).exit_code == 0


def test_what_the_daemon_would_reject_is_exit_code_2(checkout: Path):
    refused = check(checkout, {**GOOD, "title": ""})
    assert refused.exit_code == 2
    assert "/title" in refused.stderr
    told = check(checkout, {**GOOD, "repository": f"{checkout}/nowhere"}, "--json")
    assert told.exit_code == 2
    document = json.loads(told.stdout)
    assert (document["verdict"], document["faults"][0]["field"]) == ("refused", "/repository")


def test_the_environment_is_looked_at(checkout: Path, tmp_path: Path):
    def environment(**fields: Any) -> dict[str, Any]:
        done = check(checkout, {**GOOD, **fields}, "--json")
        line = json.loads(done.stdout)["tasks"][0]["checklist"][6]
        assert done.exit_code == (0 if line["ok"] else 1)
        assert isinstance(line, dict)
        return line

    assert environment()["reason"] == f"{checkout} is clean, and `python3` is there"
    assert environment(test_command="no-such-program -q")["reason"] == "test_command: there is no no-such-program"
    assert not environment(test_command="./gradlew test")["ok"]
    assert environment(test_command="bin/made --all", setup_command="python3 make.py")["ok"]
    (checkout / "calc.py").write_text("changed", encoding="utf-8")
    assert "not committed" in environment()["reason"]


def test_a_file_to_be_changed_must_be_there(checkout: Path):
    def files(*specs: dict[str, str], **fields: Any) -> dict[str, Any]:
        done = check(checkout, {**GOOD, "files": list(specs), **fields}, "--json")
        line = json.loads(done.stdout)["tasks"][0]["checklist"][1]
        assert isinstance(line, dict)
        return line

    assert files({"path": "calc.py", "operation": "modify"}, {"path": "new.py", "operation": "create"})["ok"]
    assert files({"path": "new.py", "operation": "modify"})["reason"] == "new.py is not there to modify"


@pytest.mark.parametrize("half", ["tuning", "held_out"])
def test_twenty_labelled_plans_route_as_labelled_with_reasons(half: str, checkout: Path):
    labels = yaml.safe_load((ROUTING / "labels.yaml").read_text(encoding="utf-8"))
    for name in json.loads((ROUTING / "halves.json").read_text(encoding="utf-8"))[half]:
        done = CliRunner().invoke(haikud_command, ["check", str(ROUTING / "plans" / name), "--json"])
        assert done.exit_code in {0, 1}, done.output
        for task in json.loads(done.stdout)["tasks"]:
            label = labels[name].get("*") or labels[name][task["id"]]
            assert task["looks_like"] == label["model"], (name, task, label["why"])
            assert task["grounds"]
            assert all(line["reason"] for line in task["checklist"])
        whole = [label["model"] for label in labels[name].values()]
        assert "sonnet" not in whole or done.exit_code == 1, name


def test_settings_and_stdin(checkout: Path, tmp_path: Path):
    (checkout.parent / "haikud.yaml").write_text("default_model: sonnet\nrouting: off\n", encoding="utf-8")
    text = yaml.safe_dump({"title": "Decide how to round", "files": ["calc.py"], "steps": ["Think"], "tests": ["t"]})
    run = ["check", "-", "--config", str(checkout.parent / "haikud.yaml"), "--json"]
    done = CliRunner().invoke(haikud_command, run, input=text)
    assert done.exit_code == 0  # Sonnet does it anyway
    assert json.loads(done.stdout)["tasks"][0]["looks_like"] == "sonnet"
    assert CliRunner().invoke(haikud_command, ["check", "-"], input=text).exit_code == 1


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("npm ci && CI=1 npm test", ["npm", "npm"]),
        ("cd web && npm test", []),
        ("set -e; make check | tee log", ["make", "tee"]),
        ("$RUNNER 'x", []),
        ("", []),
    ],
)
def test_programs_of_a_command(command: str, found: list[str]):
    assert list(programs(command)) == found
