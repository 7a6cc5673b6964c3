"""What a request may ask for: everything that is forwarded was checked, and its cost is bounded."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_here import MODEL, ask
from tests.support.gateway_process import a_token

from haikud.contracts.gateway import Refusal
from haikud.gateway.refusals import Refused
from haikud.gateway.requests import Asked, check_call, parse

TOKEN = a_token("plan.one")[1]


def checked(body: dict[str, Any]) -> Asked:
    return check_call(parse(json.dumps(body).encode()), TOKEN)


def refusal_of(data: bytes) -> Refusal | None:
    with pytest.raises(Refused) as refused:
        check_call(parse(data), TOKEN)
    assert refused.value.status in {400, 403}
    return refused.value.refusal


def test_of_two_fields_of_one_name_the_api_sees_the_one_that_was_checked():
    data = b'{"model":"claude-haiku-5-5","max_tokens":999999,"messages":[],"max\\u005ftokens":7}'
    asked = check_call(parse(data), TOKEN)
    assert asked.max_tokens == 7
    assert asked.data.count(b"max_tokens") == 1
    assert json.loads(asked.data)["max_tokens"] == 7


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"x"',
        b"\xff\xfe{",
        b"[" * 200_000,
        b'{"model":"claude-haiku-5-5","max_tokens":1,"messages":' + b'[{"a":' * 5_000 + b"1" + b"}]" * 5_000 + b"}",
        b'{"model":"claude-haiku-5-5","max_tokens":NaN,"messages":[]}',
        b'{"model":"claude-haiku-5-5","max_tokens":1,"messages":[],"top_p":Infinity}',
        b'{"model":"claude-haiku-5-5","max_tokens":1,"messages":[],"top_p":1e999}',
        b'{"model":"claude-haiku-5-5","max_tokens":1' + b"0" * 5_000 + b',"messages":[]}',
        b'{"model":"claude-haiku-5-5","max_tokens":1,"messages":[' + b'{"":0},' * 300_000 + b"1]}",
        '{"model":"claude-haiku-5-5","max_tokens":1,"messages":[]}'.encode("utf-16"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes):
    assert refusal_of(data) is Refusal.REQUEST


@pytest.mark.parametrize("most", [None, 0, -1, True, 1.5, "10", 10**10, [1]])
def test_an_output_without_a_bound_is_refused(most: object):
    assert refusal_of(json.dumps(ask(max_tokens=most)).encode()) is Refusal.REQUEST


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}]},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]},
        {"tools": [{"type": 7, "name": "x"}]},
        {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]},
        {"container": "container_1"},
        {"speed": "fast"},
        {"service_tier": "priority"},
        {"inference_geo": "us"},
        {"fallbacks": "default"},
        {"thread": {"type": "continue", "previous_message_id": "msg_1"}},
        {"something_new": {"x": 1}},
        {"context_management": {"edits": [{"type": "grow_20300101"}]}},
        {
            "messages": [
                {"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "https://x"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "x"}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "a",
                            "content": [{"type": "document", "source": {"type": "file", "file_id": "x"}}],
                        }
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "system",
                    "content": [
                        {
                            "type": "tool_addition",
                            "tool": {"type": "tool_definition", "definition": {"type": "web_fetch_20260318"}},
                        }
                    ],
                }
            ]
        },
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_cannot_be_bounded_is_refused(fields: dict[str, Any]):
    assert refusal_of(json.dumps(ask(**fields)).encode()) is Refusal.FEATURE


def test_what_claude_code_sends_passes_as_it_is():
    body = ask(
        max_tokens=128_000,
        stream=True,
        thinking={"type": "adaptive", "display": "updates"},
        output_config={"effort": "medium"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": '{"a": 1}'},
        system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        tools=[{"name": "Bash", "description": "d", "input_schema": {"type": "object"}, "defer_loading": True}],
        messages=[{"role": "user", "content": "hi"}, {"role": "system", "content": []}],
    )
    asked = checked(body)
    assert json.loads(asked.data) == body
    assert (asked.passes, asked.one_hour, asked.must_count, asked.stream) == (1, False, False, True)


def test_the_built_in_agents_tools_pass():
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "custom", "name": "escalate", "input_schema": {"type": "object"}},
    ]
    assert checked(ask(tools=tools)).bound > checked(ask(tools=tools[2:])).bound + 2_000


def test_another_model_is_refused():
    assert refusal_of(json.dumps(ask(model="claude-opus-5-5")).encode()) is Refusal.MODEL
    assert refusal_of(json.dumps(ask(model=MODEL + " ")).encode()) is Refusal.MODEL
    any_model = a_token("plan.one", models=[])[1]
    assert check_call(ask(model="claude-opus-5-5"), any_model).model == "claude-opus-5-5"


def test_an_hours_cache_and_a_compaction_make_the_worst_case_dearer():
    system = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert checked(ask(system=system)).one_hour
    assert not checked(ask('"ttl":"1h"')).one_hour  # somebody's words
    edits = {"context_management": {"edits": [{"type": "compact_20260112"}]}}
    assert checked(ask(**edits)).passes == 2


def test_what_the_api_clears_is_not_counted_and_what_it_sums_up_is():
    clears = {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}
    sums_up = {"context_management": {"edits": [{"type": "compact_20260112"}]}}
    assert json.loads(checked(ask(**clears)).counting()).get("context_management") == clears["context_management"]
    for edits in (sums_up, {**clears, "compaction": {"type": "summarize"}}):
        assert "context_management" not in json.loads(checked(ask(**edits)).counting())


def test_pictures_and_documents_are_not_bounded_by_their_bytes():
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}
    plain = checked(ask())
    assert checked(ask(messages=[{"role": "user", "content": [picture, picture]}])).bound > plain.bound + 10_000
    assert checked(ask(messages=[{"role": "user", "content": [document]}])).must_count


def test_a_long_text_that_looks_like_json_passes():
    text = '{"\\' * 300_000 + "1,2," * 300_000
    assert checked(ask(text)).body["messages"][0]["content"] == text


def test_documents_that_lie_deeper_or_are_cut_up_are_counted_by_the_api():
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}
    fetched = {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", "content": document}}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A. " * 100}}
    assert not checked(ask(messages=[{"role": "user", "content": [text]}])).must_count
    for block in (fetched, text | {"citations": {"enabled": True}}):
        assert checked(ask(messages=[{"role": "user", "content": [block]}])).must_count


def test_less_output_lowers_the_budget_for_thinking():
    asked = checked(ask(max_tokens=8_000, thinking={"type": "enabled", "budget_tokens": 4_000}))
    less = asked.within(2_000)
    assert less is not None
    assert json.loads(less.data)["thinking"]["budget_tokens"] == 1_999
    assert json.loads(less.data)["max_tokens"] == 2_000
    assert asked.within(1_024) is None  # the API wants 1,024 at least, below max_tokens
    assert asked.within(8_000) is asked


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(content=JSON)
def test_whatever_is_in_it_what_is_forwarded_means_what_was_checked(content: object):
    body = ask(messages=[{"role": "user", "content": content}])
    try:
        asked = checked(body)
    except Refused:
        return
    assert json.loads(asked.data) == json.loads(json.dumps(body))
    assert asked.bound >= len(asked.data)


@given(body=st.dictionaries(st.sampled_from([*ask(), "tools", "system", "context_management", "thinking"]), JSON))
def test_any_body_is_taken_or_refused(body: dict[str, Any]):
    with suppress(Refused):
        checked(ask() | body)
