"""The scripted API clears tool results as the real one says that it does, and counts and caches what is left."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from tests.offline.asking import TOOLS, carried_on, request, streamed, user, whole_input
from tests.offline.conftest import Open

from haikud.costs.context_editing import BETA, CLEAR_TOOL_USES, PLACEHOLDER, as_seen
from haikud.offline.tokens import count_tokens

LONG = "y" * 4_000


def talk(count: int, name: str = "bash") -> dict[str, Any]:
    messages = [{"role": "user", "content": "Begin."}]
    for number in range(count):
        use = {"type": "tool_use", "id": f"t{number}", "name": name, "input": {"command": "x" * 400}}
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": LONG}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return {"model": "claude-haiku-5-5", "messages": messages}


def edited(body: dict[str, Any], **edit: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """What the results look like to the model, and what is said to have been done."""
    seen = as_seen({**body, "context_management": {"edits": [{"type": CLEAR_TOOL_USES, **edit}]}}, count_tokens)
    assert "context_management" not in seen.body
    results = [block for message in seen.body["messages"][2::2] for block in message["content"]]
    return ["cleared" if PLACEHOLDER in str(block["content"]) else "kept" for block in results], seen.applied


def tokens(value: int) -> dict[str, Any]:
    return {"type": "input_tokens", "value": value}


def uses(value: int) -> dict[str, Any]:
    return {"type": "tool_uses", "value": value}


@pytest.mark.parametrize(
    ("edit", "cleared"),
    [
        ({"trigger": tokens(1_000), "keep": uses(2)}, 4),
        ({"trigger": tokens(1_000)}, 3),  # keeps three
        ({"trigger": tokens(1_000), "keep": uses(0)}, 6),
        ({"trigger": tokens(1_000), "keep": uses(9)}, 0),
        ({"trigger": tokens(50_000), "keep": uses(2)}, 0),
        ({"keep": uses(2)}, 0),  # from 100,000 tokens on
        ({"trigger": uses(5), "keep": uses(2)}, 4),
        ({"trigger": uses(6), "keep": uses(2)}, 0),
        ({"trigger": tokens(1_000), "keep": uses(2), "clear_at_least": tokens(3_500)}, 4),
        ({"trigger": tokens(1_000), "keep": uses(2), "clear_at_least": tokens(4_500)}, 0),
        ({"trigger": tokens(1_000), "keep": uses(2), "exclude_tools": ["bash"]}, 0),
    ],
)
def test_the_oldest_results_are_cleared(edit: dict[str, Any], cleared: int):
    stand, applied = edited(talk(6), **edit)
    assert stand == ["cleared"] * cleared + ["kept"] * (6 - cleared)
    assert [one["cleared_tool_uses"] for one in applied] == ([cleared] if cleared else [])
    if cleared:
        assert applied[0]["cleared_input_tokens"] == pytest.approx(cleared * 1_000, rel=0.05)


def test_inputs_go_where_that_is_asked_for():
    body = talk(3)
    for inputs, gone in ((True, True), (["bash"], True), (["view"], False), (False, False)):
        edit = {"type": CLEAR_TOOL_USES, "trigger": tokens(100), "keep": uses(1), "clear_tool_inputs": inputs}
        seen = as_seen({**body, "context_management": {"edits": [edit]}}, count_tokens).body
        calls = [message["content"][0]["input"] for message in seen["messages"][1::2]]
        assert [call == {} for call in calls] == [gone, gone, False]


def test_over_http_usage_cache_and_counts_are_those_of_what_is_left(serve: Open):
    call = {"name": "bash", "input": {"command": "true"}}
    _, client = serve({"tools": [call]}, {"tools": [call]}, {"tools": [call]}, {"text": "Done."})
    following = request(user("Begin. " * 900), tools=TOOLS, cache_control={"type": "ephemeral"})
    for _ in range(3):
        following = carried_on(following, streamed(client, following), result=LONG)
    edit = {"type": CLEAR_TOOL_USES, "trigger": tokens(1_000), "keep": uses(1)}
    asked = {**following, "context_management": {"edits": [edit]}, "betas": [BETA]}
    message = client.beta.messages.create(**asked)
    assert message.context_management is not None
    (applied,) = message.context_management.applied_edits
    assert applied.type == CLEAR_TOOL_USES
    assert (applied.cleared_tool_uses, applied.cleared_input_tokens > 1_900) == (2, True)
    assert whole_input(message.usage) == count_tokens(following) - applied.cleared_input_tokens
    first = {**following, "messages": following["messages"][:1]}
    assert message.usage.cache_read_input_tokens == count_tokens(first)  # all beyond it ends in what is cleared now
    again = client.beta.messages.create(**asked)
    assert again.usage.cache_read_input_tokens == whole_input(message.usage)
    with client.beta.messages.stream(**asked) as stream:
        said = stream.get_final_message()
    assert said.context_management == message.context_management
    counting = {name: value for name, value in asked.items() if name != "max_tokens"}
    counted = client.beta.messages.count_tokens(**counting)
    assert counted.input_tokens == whole_input(message.usage)
    assert counted.context_management is not None
    assert counted.context_management.original_input_tokens == count_tokens(following)


def test_without_the_beta_header_it_is_refused(serve: Open):
    _, client = serve({"text": "Hi."})
    body = {**request(user("Hello")), "extra_body": {"context_management": {"edits": []}}}
    with pytest.raises(anthropic.BadRequestError, match="context_management: Extra inputs are not permitted"):
        client.messages.create(**body)
    assert client.messages.create(**request(user("Hello"))).to_dict().get("context_management") is None


def test_what_does_not_fit_the_window_is_refused(serve: Open):
    _, client = serve({"text": "Hi."})
    body = {**request(user("z" * 4 * 200_100)), "model": "claude-haiku-4-5"}
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 200000 maximum"):
        client.messages.create(**body)
    assert client.messages.create(**{**body, "model": "claude-haiku-5-5"}).stop_reason == "end_turn"
