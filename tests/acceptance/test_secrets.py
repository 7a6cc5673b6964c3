"""Secrets planted in the environment, in files and in what programs print stand in nothing that haikud writes."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.house import House
from tests.support.repository import git
from tests.support.scripts import conversation, scenario

from haikud.contracts.base import utc_now
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

AGENTS_OWN = ("git", "home", "worktrees")
"""Beneath a task's folder and out/: the agent's work, which nobody masks."""

REQUESTERS_OWN = ("request.json", "plan.json", "spec.json", "assignment.json")
"""A requester's words, kept as they were dropped."""


def planted() -> dict[str, str]:
    """Secrets of which no shape tells, but for two."""
    return {
        "environment": f'env {secrets.token_hex(6)}/"{secrets.token_hex(6)}',
        "named": secrets.token_urlsafe(18),
        "passed": secrets.token_urlsafe(18),
        "set": secrets.token_urlsafe(18),
        "listed": secrets.token_urlsafe(18),
        "repository": f"ghp_{secrets.token_hex(18)}",
        "printed": f"AKIA{''.join(secrets.choice('ABCDEFGH234567') for _ in range(16))}",
    }


def spellings(value: str) -> list[bytes]:
    whole = base64.b64encode(value.encode())
    plain = [value, quote(value, safe=""), json.dumps(value)[1:-1]]
    return [*(one.encode() for one in plain), whole[: len(value) // 3 * 4]]


def places_of(known: dict[str, str], top: Path, *, passed_over: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Which of them stand where beneath a folder, in any spelling."""
    found: dict[str, list[str]] = {}
    for path in top.rglob("*"):
        if path.is_symlink() or not path.is_file() or set(path.relative_to(top).parts) & set(passed_over):
            continue
        data = path.read_bytes()
        for name, value in known.items():
            if any(one in data for one in spellings(value)):
                found.setdefault(name, []).append(str(path.relative_to(top)))
    return found


def bash(command: str) -> dict[str, Any]:
    return {"name": "bash", "input": {"command": command}}


def test_no_planted_secret_stands_in_anything_that_haikud_writes(house: House):
    known, told = planted(), f"ghp_{secrets.token_hex(18)}"
    listed = house.root / "listed.env"
    listed.write_text(f"LISTED={known['listed']}\n")
    house.settings = {
        "environment": {"pass_names": ["DB_PASSWORD", "DEPLOY_TOKEN"], "set_values": {"SET_TOKEN": known["set"]}},
        "secrets": {"names": ["DEPLOY_TOKEN"], "files": [str(listed)]},
        "issues": "local",
    }
    (house.repository / "config.ini").write_text(f"[it]\ntoken = {known['repository']}\n")
    git(house.repository, "add", "config.ini")
    git(house.repository, "commit", "-qm", "Add settings")
    everything = (
        'printf "%s\\n" "$DB_PASSWORD" "$SET_TOKEN"; printf %s "$DB_PASSWORD" | base64 -w0; echo; cat config.ini'
    )
    noise = f"for n in $(seq 3000); do echo line $n; done; printf %s {known['printed'][:9]}; sleep 0.2; "
    noise += f"echo {known['printed'][9:]}; {everything}; for n in $(seq 3000); do echo line $n; done"
    turns = [
        {"tools": [bash(noise), bash(f"echo {known['listed']}; {everything}; exit 3")]},
        {"tools": [{"name": "str_replace_based_edit_tool", "input": {"command": "view", "path": "config.ini"}}]},
        {"tools": [bash('cp "$HAIKUD_OUT/outputs/1.txt" seen.txt; cp config.ini copy.ini; env > env.txt')]},
        {"tools": [bash(f"git add -A; git commit -qm 'Add {known['repository']}'")]},
        {"text": f"Done with {known['repository']} and {known['printed']}."},
    ]
    report = f"it broke with {known['repository']} {known['listed']}"
    say = f"import json, os; json.dump({{'summary': {report!r}, 'payload': {{'id': {known['repository']!r}}}}}, "
    say += "open(os.environ['HAIKUD_OUT'] + '/result.json', 'w'))"
    house.role(
        "broken", f'{everything}\necho "$DEPLOY_TOKEN."\npython3 -c "{say}"\necho {known["printed"]} >&2\nexit 9'
    )
    with ScriptedApi(parse_scenario(scenario(conversation(*turns)))) as api:
        house.environment = {
            "ANTHROPIC_API_KEY": "sk-ant-" + secrets.token_hex(16),
            "ANTHROPIC_BASE_URL": api.base_url,
            "DB_PASSWORD": known["environment"],
            "DEPLOY_TOKEN": known["named"],
        }
        house.start()
        house.request("works", context={"test_command": everything}, description=f"Use {told}.")
        house.request("breaks", role="broken")
        house.drop(
            "incoming",
            "wrong.json",
            {"task_id": "wrong", "title": "Wrong", "priority": f"{known['repository']} {known['listed']}"},
        )
        answers = {name: house.response(name) for name in ("works", "breaks", "wrong")}
        asked = [json.dumps(one.body) for one in api.journal if one.path == "/v1/messages"]
    assert [one["status"] for one in answers.values()] == ["success", "failure", "rejected"], house.tail()
    house.send(15)
    house.ended()

    worktree = house.repository / "worktrees" / "works"
    own = places_of(known, worktree, passed_over=(".git",))
    assert {"config.ini", "copy.ini"} <= set(own["repository"]), "such a look finds what is there"
    assert own["environment"] == own["set"] == ["env.txt"]
    assert "named" not in own, "secrets.names keeps it from agents"
    seen = (worktree / "seen.txt").read_text()
    assert seen.count("[masked: ") == 5, seen[-60_000:][:2000]
    assert "[masked: GitHub token]" in answers["works"]["payload"]["summary"]
    assert answers["breaks"]["payload"]["error_report"]["error"]["message"].endswith(": [masked: AWS key id]")
    assert any("DEPLOY_TOKEN" in line for line in answers["works"]["payload"]["warnings"])
    assert "ANTHROPIC" not in (worktree / "env.txt").read_text()
    assert not [
        name for name, value in known.items() for text in asked for one in spellings(value) if one.decode() in text
    ]

    every = known | {"key": house.environment["ANTHROPIC_API_KEY"]}
    left = places_of(every, house.spool, passed_over=AGENTS_OWN)
    agents = "plans/breaks/breaks/attempt-1/out/result.json"
    found = {name: [one for one in places if one != agents] for name, places in left.items()}
    found = {name: places for name, places in found.items() if places}
    assert found == {"repository": ["rejected/wrong.json"], "listed": ["rejected/wrong.json"]}
    assert places_of(every, house.root, passed_over=("spool", "project", "listed.env", "haikud.yaml", "roles")) == {}
    words = places_of({"told": told}, house.spool, passed_over=AGENTS_OWN).get("told", [])
    assert {Path(one).name for one in words} <= set(REQUESTERS_OWN), words
    assert git(worktree, "log", "-1", "--format=%s") == f"Add {known['repository']}", "what is committed is not touched"


def test_a_variable_that_holds_a_tasks_name_neither_doubles_its_issue_nor_hides_its_branch(house: House):
    house.environment = {"ISSUE_KEY": "ABC-1234", "CACHE_KEY": f"{utc_now():%Y-%m-%d}"}
    house.settings["issues"] = "local"
    second = 'case "$HAIKUD_OUT" in */attempt-1/*) exit 75;; esac; echo "# $ISSUE" >> calc.py; git commit -qam More'
    role = house.role("second", second)
    house.start()
    house.request("ABC-1234", role=role)
    response = house.response("ABC-1234")
    assert (response["status"], response["payload"]["attempts"]) == ("success", 2), house.tail()
    assert response["payload"]["branch"] == "feature/ABC-1234"
    assert len(list((house.spool / "issues").glob("*.json"))) == 1
