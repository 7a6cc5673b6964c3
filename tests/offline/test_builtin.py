"""The built-in scenarios, played by the built-in agent: what the demo shows, without the daemon around it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.haiku_orders import make_order
from tests.support.repository import git, make_repository

from haikud.agent.haiku.session import run_haiku
from haikud.interfaces.demo_project import FILES, TEST_COMMAND
from haikud.offline.server import ScriptedApi


def test_the_logout_button_is_built_tested_and_committed(tmp_path: Path):
    repository = make_repository(tmp_path / "a project", FILES)
    with ScriptedApi("logout") as api:
        end = run_haiku(make_order(tmp_path, repository, api.base_url, "Implement logout button"))
    assert end.kind == "done", end
    assert end.summary.startswith("[scripted] Added a logout button")
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "log", "-1", "--format=%s|%b") == (
        "Add a logout button to the navigation|It stands beside the profile and ends the session.\n\n"
        "Written by haikud's scripted model."
    )
    tests = subprocess.run(TEST_COMMAND.split(), cwd=repository, capture_output=True, text=True, check=False)
    assert "Ran 6 tests" in tests.stderr
    assert tests.returncode == 0
    assert end.usage.requests == len(api.journal) == 6
    assert end.usage.cache_read_tokens > 1000
    said = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["percent"] for event in said if event["kind"] == "progress"] == [25, 50, 75]


def test_the_logout_script_asks_where_the_tests_fail_beforehand(tmp_path: Path):
    broken = {**FILES, "navigation/session.py": FILES["navigation/session.py"].replace("= user", "= None")}
    repository = make_repository(tmp_path / "project", broken)
    with ScriptedApi("logout") as api:
        end = run_haiku(make_order(tmp_path, repository, api.base_url, "Implement logout button"))
    assert end.kind == "escalated", end
    assert end.question is not None
    assert end.question.reason.startswith("[scripted] The tests fail before")
    assert git(repository, "status", "--porcelain") == ""


def test_echo_reports_and_ends_whatever_it_is_asked(tmp_path: Path):
    repository = make_repository(tmp_path / "project")
    with ScriptedApi("echo") as api:
        end = run_haiku(make_order(tmp_path, repository, api.base_url, "Anything"))
    assert (end.kind, end.summary) == ("done", "[scripted] Done. I am a script, so nothing was changed.")
