"""What is sent with every call whatever the task: short, and long enough to be cached from the second call on."""

from __future__ import annotations

import pytest
from tests.agent.haiku.conftest import Desk

from haikud.agent.haiku.prompt import system_prompt
from haikud.agent.haiku.session import run_haiku
from haikud.contracts.attempt import ResolvedRole
from haikud.costs.model_facts import least_cacheable_tokens
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi
from haikud.offline.tokens import count_tokens
from haikud.roles.catalogue import find_roles

MOST = {"parallel-task-executor": 960, "test-runner": 890, "issue-orchestrator": 720, "worktree-manager": 680}
"""Tokens of the system prompt and the tools, by the double's count. What you add is paid for in every call: see it."""


@pytest.mark.parametrize("name", MOST)
def test_the_fixed_part_of_every_request_is_short_and_cacheable(desk: Desk, name: str):
    found = find_roles()[name]
    role = {"name": name, "prompt": found.prompt, "tools": found.tools}
    with ScriptedApi(parse_scenario({"name": "s", "conversations": [{"turns": [{"text": "Done."}]}]})) as api:
        order = desk.order(api.base_url, role=role)
        run_haiku(order)
        order.log.close()
        (exchange,) = api.journal
        fixed = {**exchange.body, "messages": []}
    assert least_cacheable_tokens("claude-haiku-5-5") < count_tokens(fixed) <= MOST[name]
    said = f"{fixed['system']}{fixed['tools']}"
    for changing in (str(desk.worktree), order.assignment.title, f"{order.spec.ordered_at:%Y}"):
        assert changing not in said  # it would make every task's prompt another one for the cache


def test_the_prompt_of_a_role_stands_before_the_rules_of_its_tools():
    role = ResolvedRole(name="x", prompt="You are careful.\n", tools=["view"], model="m")
    (block,) = system_prompt(role)
    assert block["text"].startswith("You are careful.\n\n# Rules\n")
    assert "You have no shell and cannot change files" in block["text"]
