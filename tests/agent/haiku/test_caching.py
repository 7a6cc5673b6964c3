"""The prompt cache: what the scripted API has really seen before, it says was read, and that is nearly everything.

The figures are the API's own: the double computes cache reads from the prefixes that earlier requests wrote at their
marks, within its look-back and with its minimum length, and knows nothing of what the agent believes.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support import ten_turns
from tests.support.haiku_orders import make_order
from tests.support.made import make_given
from tests.support.repository import git, make_repository

from haikud.agent.haiku import calls
from haikud.agent.haiku.cache_watch import CacheWatch
from haikud.agent.haiku.context import gather_context
from haikud.agent.haiku.conversation import with_cache_marks
from haikud.agent.haiku.session import HaikuEnd, HaikuOrder, run_haiku
from haikud.agent.haiku.tools.report import ESCALATE
from haikud.contracts.base import utc_now
from haikud.contracts.settings import ContextSettings
from haikud.contracts.usage import UsageEntry
from haikud.offline.scenario import Scenario, parse_scenario
from haikud.offline.server import ScriptedApi

Usages = list[dict[str, Any]]


def order_for(folder: Path, repository: Path, api: ScriptedApi, *, turns: int = 30, **spec: Any) -> HaikuOrder:
    order = make_order(folder, repository, api.base_url, ten_turns.TITLE)
    limits = order.spec.limits.model_copy(update={"max_turns": turns})
    return dataclasses.replace(order, spec=order.spec.model_copy(update={"limits": limits, **spec}))


def run_to_its_end(order: HaikuOrder) -> HaikuEnd:
    try:
        return run_haiku(order)
    finally:
        order.log.close()


def usages_of(api: ScriptedApi) -> Usages:
    usages = [exchange.usage for exchange in api.journal]
    assert all(usages)
    return [usage for usage in usages if usage]


def whole(usage: dict[str, Any]) -> int:
    return sum(usage[name] for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))


def share_read(usages: Usages) -> float:
    return sum(usage["cache_read_input_tokens"] for usage in usages) / sum(map(whole, usages))


def ten_turn_task(folder: Path) -> Usages:
    repository = make_repository(folder / "project", ten_turns.FILES)
    with ScriptedApi(parse_scenario(ten_turns.SCENARIO)) as api:
        order = order_for(folder, repository, api)
        gather = partial(gather_context, repository, ten_turns.CONTEXT, 8_000)
        end = run_to_its_end(dataclasses.replace(order, gather_context=gather))
        assert end.kind == "done", end
        assert git(repository, "log", "-1", "--format=%s") == "Give every shape a perimeter"
        return usages_of(api)


def test_from_the_third_turn_on_four_fifths_of_the_input_are_read_from_the_cache(tmp_path: Path):
    usages = ten_turn_task(tmp_path)
    assert len(usages) == 10
    assert usages[1]["cache_read_input_tokens"] > 0  # the cache is hit from the second turn on
    shares = [share_read([usage]) for usage in usages]
    assert min(shares[2:]) >= 0.8, shares
    assert share_read(usages[2:]) >= 0.8
    assert [usage["input_tokens"] for usage in usages] == [0] * 10  # nothing stands after the last mark
    for before, after in pairwise(usages):
        assert after["cache_read_input_tokens"] == whole(before)  # all that was ever sent, and that exactly
    assert "the prompt cache is not read" not in (tmp_path / "agent.log").read_text()


def test_without_the_marks_of_the_messages_it_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calls, "with_cache_marks", lambda messages: messages)
    assert share_read(ten_turn_task(tmp_path)[2:]) < 0.8


def test_with_caching_turned_off_nothing_is_marked_and_nothing_is_said_about_it(tmp_path: Path):
    context = ContextSettings.model_validate({"cache_prompts": False})
    with ScriptedApi(parallel(9)) as api:
        order = order_for(tmp_path, make_repository(tmp_path / "project"), api, context=context)
        assert run_to_its_end(order).kind == "done"
        usages = usages_of(api)
    assert [usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] for usage in usages] == [0] * 4
    assert "the prompt cache is not read" not in (tmp_path / "agent.log").read_text()


def parallel(count: int) -> Scenario:
    """Turns of many calls at once: each adds more blocks than a look-up goes back."""
    many = [{"name": "report_progress", "input": {"percent": n, "message": "so far"}} for n in range(count)]
    return parse_scenario({"name": "many", "conversations": [{"turns": [*[{"tools": many}] * 3, {"text": "Done."}]}]})


def test_a_turn_of_more_calls_than_a_look_up_goes_back_is_read_all_the_same(tmp_path: Path):
    with ScriptedApi(parallel(25)) as api:
        assert run_to_its_end(order_for(tmp_path, make_repository(tmp_path / "project"), api)).kind == "done"
        usages = usages_of(api)
    for before, after in pairwise(usages):
        assert after["cache_read_input_tokens"] == whole(before)


def test_the_next_attempt_reads_what_the_last_one_wrote(tmp_path: Path):
    asks = {
        "name": ESCALATE["name"],
        "input": {"reason": "a", "blocker": "b", "context": [], "options": [], "recommendation": ""},
    }
    turns = [{"tools": [{"name": "bash", "input": {"command": "seq 400"}}]}, {"tools": [asks]}, {"text": "Done."}]
    repository = make_repository(tmp_path / "project")
    with ScriptedApi(parse_scenario({"name": "a", "conversations": [{"turns": turns}]})) as api:
        assert run_to_its_end(order_for(tmp_path, repository, api)).kind == "escalated"
        given = [make_given("Go on.", question="a")]
        again = order_for(tmp_path, repository, api, attempt=2, guidance=given, resume_note="Once more.")
        assert run_to_its_end(again).kind == "done"
        usages = usages_of(api)
    assert usages[2]["cache_read_input_tokens"] == whole(usages[1])
    assert share_read(usages[2:]) > 0.8


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


@pytest.mark.parametrize(("users", "marked"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (6, [0, 4, 5])])
def test_at_most_three_messages_are_marked_at_their_last_block(users: int, marked: list[int]):
    messages = [user(f"{number}", "last") for number in range(users)]
    sent = with_cache_marks(messages)
    assert [n for n, message in enumerate(sent) if "cache_control" in message["content"][-1]] == marked
    assert all("cache_control" not in message["content"][0] for message in sent)
    assert not any("cache_control" in block for message in messages for block in message["content"])  # a copy


def entry(seconds: float = 0.0, model: str = "claude-haiku-5-5", **tokens: Any) -> UsageEntry:
    return UsageEntry(at=NOW + timedelta(seconds=seconds), model=model, **tokens)


NOW = utc_now()


def test_a_cache_that_is_not_read_is_told_once():
    watch = CacheWatch()
    assert watch.look(entry(0, cache_write_5m_tokens=3_000)) is None
    said = watch.look(entry(12, input_tokens=100, cache_write_5m_tokens=4_000))
    assert said is not None
    assert "paid in full for its 4100 tokens of context, of which 3000 had been sent 12 s before" in said
    assert watch.look(entry(20, cache_write_5m_tokens=5_000)) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (entry(0, input_tokens=500), entry(9, input_tokens=600)),  # shorter than anything that is cached
        (entry(0, model="claude-haiku-4-5", input_tokens=4_000), entry(9, "claude-haiku-4-5", input_tokens=5_000)),
        (entry(0, input_tokens=5_000), entry(290, input_tokens=5_000)),  # too late to be sure
        (entry(0, input_tokens=5_000), entry(9, "claude-sonnet-5-5", input_tokens=5_000)),  # another model's cache
        (entry(0, input_tokens=5_000), entry(9, input_tokens=10, cache_read_tokens=5_000)),
        (entry(0, input_tokens=5_000), entry(9, estimated=True, input_tokens=5_000)),
    ],
)
def test_where_nothing_could_be_read_nothing_is_told(before: UsageEntry, after: UsageEntry):
    watch = CacheWatch(before)
    assert watch.look(after) is None
