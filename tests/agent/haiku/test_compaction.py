"""A conversation that would become too long: old results are cleared by the API, seldom, and stay cleared.

The double edits the context as the API's description says (costs/context_editing.py), counts what is left, and reads
its cache from the edited prefixes: nothing here takes the agent's word for it.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.agent.haiku.test_caching import order_for, run_to_its_end, share_read, usages_of, whole
from tests.support.haiku_orders import make_order
from tests.support.repository import make_repository

from haikud.agent.haiku.compaction import Compaction, choose_clearing
from haikud.agent.haiku.conversation import Clearing, Conversation
from haikud.agent.haiku.session import HaikuEnd
from haikud.agent.haiku.transcript import Transcript
from haikud.contracts.base import utc_now
from haikud.contracts.settings import ContextSettings, LimitSettings
from haikud.contracts.transcript import LineKind, TranscriptLine
from haikud.offline.journal import Exchange
from haikud.offline.scenario import Scenario, StatusFault, parse_scenario
from haikud.offline.server import ScriptedApi
from haikud.spool.agent_log import AgentLog

EDITOR = "str_replace_based_edit_tool"


def looking(turns: int, size: int = 2_000) -> Scenario:
    """So many turns that each read `size` bytes they have not seen, then the end."""
    command = "head -c {size} /dev/zero | tr '\\0' '{letter}' | fold -w 70; echo {number}"
    tools = [
        [{"name": "bash", "input": {"command": command.format(size=size, letter=chr(97 + n % 26), number=n)}}]
        for n in range(turns)
    ]
    return parse_scenario(
        {"name": "l", "conversations": [{"turns": [*[{"tools": t} for t in tools], {"text": "Done."}]}]}
    )


def run_in(folder: Path, api: ScriptedApi, at: int, attempt: int = 1, **changes: Any) -> HaikuEnd:
    project = folder / "project"
    repository = project if project.exists() else make_repository(project)
    context = ContextSettings.model_validate({"compact_at_tokens": at})
    return run_to_its_end(order_for(folder, repository, api, turns=99, context=context, attempt=attempt, **changes))


def edits_of(api: ScriptedApi) -> list[tuple[int, bool]]:
    """What each request asked for: how many newest results to keep (all: 0), and whether inputs go too."""
    return [_edit(exchange) for exchange in api.journal]


def _edit(exchange: Exchange) -> tuple[int, bool]:
    managed = exchange.body.get("context_management")
    if managed is None:
        return 0, False
    (edit,) = managed["edits"]
    return edit["keep"]["value"], edit.get("clear_tool_inputs", False)


def log_of(folder: Path) -> str:
    return (folder / "agent.log").read_text()


def test_a_long_task_stays_below_the_limit_and_is_read_from_the_cache_in_between(tmp_path: Path):
    with ScriptedApi(looking(30)) as api:
        assert run_in(tmp_path, api, 8_000).kind == "done"
        usages = usages_of(api)
        sent = [exchange.body["messages"] for exchange in api.journal]
    assert max(map(whole, usages)) < 8_000
    misses = [
        n for n, (before, now) in enumerate(pairwise(usages), 1) if now["cache_read_input_tokens"] < whole(before)
    ]
    compactions = log_of(tmp_path).count("is compacted")
    assert len(misses) == compactions
    assert 2 <= compactions <= 4  # once for much, not a little each turn
    assert all(usages[n]["cache_read_input_tokens"] > 500 for n in misses)  # the system prompt and the first message
    assert share_read(usages[2:]) > 0.8
    assert "the API cleared" not in log_of(tmp_path)  # it cleared exactly what it was asked to
    for shorter, longer in pairwise(sent):
        assert without_marks(longer[: len(shorter)]) == without_marks(shorter)  # the history itself is never touched


def without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_marks(part) for name, part in value.items() if name != "cache_control"}
    return [without_marks(part) for part in value] if isinstance(value, list) else value


def test_the_price_step_at_100000_tokens_is_never_reached(tmp_path: Path):
    costs = {}
    for at in (80_000, 0):
        folder = tmp_path / str(at)
        folder.mkdir()
        with ScriptedApi(looking(14, 36_000)) as api:
            limits = LimitSettings.model_validate({"tool_output_bytes": 40_000, "grace_seconds": 0.5})
            end = run_in(folder, api, at, limits=limits)
            assert end.kind == "done"
            longest = max(map(whole, usages_of(api)))
        assert (longest > 100_000) == (at == 0)
        costs[at] = end.usage.cost_usd
    assert costs[80_000] < costs[0] * 0.6


def test_the_next_attempt_asks_for_the_same_clearing_and_finds_its_cache(tmp_path: Path):
    with ScriptedApi(looking(20)) as api:
        limits = make_order(tmp_path, make_repository(tmp_path / "project"), "", "").spec.limits
        few = limits.model_copy(update={"max_turns": 16})
        assert run_in(tmp_path, api, 8_000, limits=few).kind == "max_turns"
        calls = len(api.journal)
        kept, _ = edits_of(api)[-1]
        assert kept > 0
        assert run_in(tmp_path, api, 8_000, attempt=2).kind == "done"
        usages = usages_of(api)
        assert edits_of(api)[calls][0] == kept + 1  # one result more in all, the same ones cleared
    assert usages[calls]["cache_read_input_tokens"] == whole(usages[calls - 1])


def test_where_results_are_small_the_inputs_of_old_calls_go_too(tmp_path: Path):
    writes = [{"command": "create", "path": f"{n}.txt", "file_text": f"{n}\n" * 800} for n in range(20)]
    turns = [*[{"tools": [{"name": EDITOR, "input": given}]} for given in writes], {"text": "Done."}]
    with ScriptedApi(parse_scenario({"name": "w", "conversations": [{"turns": turns}]})) as api:
        assert run_in(tmp_path, api, 6_000).kind == "done"
        assert max(map(whole, usages_of(api))) < 6_000
        assert any(inputs for _, inputs in edits_of(api))
    assert "with the inputs of their calls" in log_of(tmp_path)


def test_an_api_that_clears_nothing_is_asked_once_and_then_without(tmp_path: Path):
    with ScriptedApi(looking(20)) as api:
        refusal = StatusFault(kind="status", status=400, message="context_management: Extra inputs are not permitted")
        order = dataclasses.replace(order_of(tmp_path, api), at_turn=inject_at_first_edit(api, tmp_path, refusal))
        assert run_to_its_end(order).kind == "done"
        asked = [keep for keep, _ in edits_of(api) if keep]
        assert len(asked) == 1
        assert whole(usages_with_one(api)[-1]) > 8_000
    assert log_of(tmp_path).count("does not clear tool results") == 1


def order_of(folder: Path, api: ScriptedApi) -> Any:
    context = ContextSettings.model_validate({"compact_at_tokens": 8_000})
    return order_for(folder, make_repository(folder / "project"), api, turns=99, context=context)


def usages_with_one(api: ScriptedApi) -> list[dict[str, Any]]:
    return [exchange.usage for exchange in api.journal if exchange.usage]


def inject_at_first_edit(api: ScriptedApi, folder: Path, fault: StatusFault) -> Any:
    """At the turn whose request is the first to ask for a clearing: the transcript says so before the request."""
    done: list[int] = []

    def at_turn() -> bool:
        if not done and whole(usages_with_one(api)[-1] if usages_with_one(api) else NOTHING) > 6_500:
            done.append(1)
            api.inject(fault)
        return False

    return at_turn


NOTHING = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


def test_a_prompt_that_the_api_finds_too_long_is_compacted_and_sent_again(tmp_path: Path):
    with ScriptedApi(looking(6)) as api:
        order = order_of(tmp_path, api)
        done: list[int] = []

        def at_turn() -> bool:
            if not done and len(usages_with_one(api)) == 5:
                done.append(1)
                message = "prompt is too long: 200001 tokens > 200000 maximum"
                api.inject(StatusFault(kind="status", status=400, message=message))
            return False

        assert run_to_its_end(dataclasses.replace(order, at_turn=at_turn)).kind == "done"
        assert [keep for keep, _ in edits_of(api)] == [0, 0, 0, 0, 0, 0, 1, 2]  # what is new is never cleared


def test_what_cannot_be_compacted_ends_with_a_clear_error(tmp_path: Path):
    with ScriptedApi(looking(2)) as api:
        message = "prompt is too long: 200001 tokens > 200000 maximum"
        api.inject(StatusFault(kind="status", status=400, message=message))
        end = run_in(tmp_path, api, 8_000)
    assert end.error is not None
    assert (end.kind, end.error.code) == ("failed", "CONTEXT_FULL")
    assert "prompt is too long" in end.error.message
    assert "split the task" in end.error.message


@pytest.mark.parametrize(
    ("model", "at", "tokens", "is_compacted"),
    [
        ("claude-haiku-4-5", 500_000, 161_000, True),  # its window holds 200,000
        ("claude-haiku-4-5", 500_000, 159_000, False),
        ("claude-haiku-5-5", 500_000, 161_000, False),
        ("claude-haiku-5-5", 80_000, 81_000, True),
        ("claude-haiku-5-5", 0, 990_000, False),
    ],
)
def test_the_limit_is_the_settings_and_never_beyond_the_models_window(
    tmp_path: Path, model: str, at: int, tokens: int, is_compacted: bool
):
    log = AgentLog(tmp_path / "agent.log")
    transcript = Transcript(tmp_path / "transcript.jsonl", 1)
    for line in talked(*[200_000] * 4).lines:
        transcript.conversation.add(line)
    left = Compaction(model, at, log).before_call(transcript, tokens)
    log.close()
    assert (transcript.conversation.clearing != Clearing()) == is_compacted
    assert (left < tokens) == is_compacted


def talked(*sizes: int, inputs: int = 10) -> Conversation:
    """A conversation with one call a turn, and results of so many bytes or so."""
    conversation = Conversation()
    for number, size in enumerate(sizes):
        use = {"type": "tool_use", "id": str(number), "name": "bash", "input": {"command": "x" * inputs}}
        result = {"type": "tool_result", "tool_use_id": str(number), "content": [{"type": "text", "text": "y" * size}]}
        for kind, block in ((LineKind.ASSISTANT, use), (LineKind.TOOL_RESULT, result)):
            conversation.add(
                TranscriptLine(at=utc_now(), attempt=1, kind=kind, content=[block], tool_use_id=str(number))
            )
    return conversation


@pytest.mark.parametrize(
    ("sizes", "inputs", "tokens", "least", "cleared"),
    [
        ([4_000] * 6, 10, 2_500, 500, Clearing(3)),
        ([4_000] * 6, 10, 99_999, 500, Clearing(5, inputs=True)),  # not the one that the model has not seen
        ([40] * 6, 10, 2_500, 500, None),  # nothing to gain
        ([40] * 6, 9_000, 2_500, 500, Clearing(5, inputs=True)),
        ([9_000], 10, 2_500, 500, None),
        ([], 10, 2_500, 500, None),
    ],
)
def test_the_oldest_go_first_and_only_where_it_is_worth_it(
    sizes: list[int], inputs: int, tokens: int, least: int, cleared: Clearing | None
):
    assert choose_clearing(talked(*sizes, inputs=inputs), tokens, least) == cleared


def test_what_is_cleared_is_known_again_and_forgotten_with_a_fresh_start(tmp_path: Path):
    transcript = Transcript(tmp_path / "transcript.jsonl", 1)
    transcript.say("Begin.", "assignment")
    transcript.note_cleared(Clearing(7, inputs=True))
    later = Transcript(tmp_path / "transcript.jsonl", 2)
    assert later.conversation.clearing == Clearing(7, inputs=True)
    later.begin("m", fresh=True)
    assert later.conversation.clearing == Clearing()
    assert Transcript(tmp_path / "transcript.jsonl", 2).conversation.clearing == Clearing()
