"""The scripted API as the real client sees it: shapes, order of events, tools, refusals, the server's life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from tests.offline.asking import MODEL, TOOLS, carried_on, request, streamed, user
from tests.offline.conftest import KEY, Open
from tests.support.waiting import wait_until

from haikud.offline.server import ScriptedApi

SOURCE = Path(__file__).resolve().parents[2] / "daemon"
CALL = {"name": "bash", "input": {"command": "echo 'much to run' && " * 20 + "true"}}


def test_a_whole_answer_says_that_it_is_scripted_and_carries_a_request_id(serve: Open):
    api, client = serve({"text": "Hello."})
    raw = client.messages.with_raw_response.create(**request())
    message = raw.parse()
    assert raw.headers["x-haikud-scripted"] == "true"
    assert message._request_id == api.journal[0].request_id
    assert message._request_id.startswith("req_")
    assert [block.text for block in message.content if block.type == "text"] == ["[scripted] Hello."]
    assert (message.stop_reason, message.model, message.role) == ("end_turn", MODEL, "assistant")
    assert message.usage.service_tier == "standard"


def test_a_stream_has_the_real_order_of_events(serve: Open):
    _, client = serve({"thinking": "Let me see.", "text": "Running it.", "tools": [CALL]})
    with client.messages.create(**request(tools=TOOLS), stream=True) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert events[0].message.usage.input_tokens > 0
    opened = [event.content_block.type for event in events if event.type == "content_block_start"]
    assert opened == ["thinking", "text", "tool_use"]
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert deltas[:2] == ["thinking_delta", "signature_delta"]
    assert deltas.count("input_json_delta") > 4
    assert events[-2].delta.stop_reason == "tool_use"
    assert events[-2].usage.output_tokens > 100


def test_the_sdk_puts_a_streamed_tool_call_together(serve: Open):
    _, client = serve({"text": "One.", "tools": [CALL, {**CALL, "input": {"command": "true"}}]})
    message = streamed(client, request(tools=TOOLS))
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [CALL["input"], {"command": "true"}]
    assert len({call.id for call in calls}) == 2
    assert message.stop_reason == "tool_use"


def test_whole_and_streamed_answers_are_the_same(serve: Open):
    _, client = serve({"thinking": "Hm.", "text": "Grüße.", "tools": [CALL]})
    whole = client.messages.create(**request(tools=TOOLS))
    parts = streamed(client, request(tools=TOOLS))
    assert [block.model_dump() for block in parts.content] == [block.model_dump() for block in whole.content]
    assert parts.usage.output_tokens == whole.usage.output_tokens


def test_the_turn_follows_from_the_history_alone(serve: Open):
    api, client = serve({"tools": [CALL]}, {"thinking": "So.", "tools": [CALL]}, {"text": "Done."})
    body = request(tools=TOOLS)
    second = carried_on(body, streamed(client, body))
    third = carried_on(second, streamed(client, second))
    assert streamed(client, third).content[0].text == "[scripted] Done."
    again = streamed(client, second)  # as after a crash between the two
    assert again.content[0].type == "thinking"
    assert [exchange.turn for exchange in api.journal] == [1, 2, 3, 2]


def test_max_tokens_cuts_an_answer_where_it_falls(serve: Open):
    _, client = serve({"text": "word " * 100}, {"text": "Short.", "tools": [CALL]})
    body = request(max_tokens=20)
    message = streamed(client, body)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens <= 20
    assert message.content[0].text.startswith("[scripted] word")
    call = streamed(client, carried_on(body, message)).content[-1]
    assert call.type == "tool_use"
    assert call.input != CALL["input"]
    whole = client.messages.create(**carried_on(body, message))
    assert (whole.stop_reason, whole.content[-1].input) == ("max_tokens", {})


def test_a_refusal_can_be_scripted(serve: Open):
    _, client = serve({"stop_reason": "refusal"})
    message = streamed(client, request())
    assert (message.stop_reason, message.content) == ("refusal", [])


def test_counting_tokens_agrees_with_the_bill(serve: Open):
    _, client = serve({"text": "Hi."})
    body = request(user("word " * 300), system="Be brief.", tools=TOOLS)
    counted = client.messages.count_tokens(**{k: v for k, v in body.items() if k != "max_tokens"}).input_tokens
    assert counted == client.messages.create(**body).usage.input_tokens > 375


def test_both_kinds_of_credential_are_taken_and_neither_is_kept(serve: Open):
    api, client = serve({"text": "Hi."})
    client.messages.create(**request())
    body = json.dumps(request())
    headers = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
    url = f"{api.base_url}/v1/messages"
    with httpx2.Client() as plain:
        assert plain.post(url, content=body, headers={**headers, "x-api-key": KEY}).status_code == 200
        assert plain.post(url, content=body, headers={**headers, "authorization": f"Bearer {KEY}"}).status_code == 200
        refused = plain.post(url, content=body, headers=headers)
        versionless = plain.post(url, content=body, headers={"x-api-key": KEY})
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    assert refused.json()["request_id"] == refused.headers["request-id"]
    assert (versionless.status_code, versionless.json()["error"]["type"]) == (400, "invalid_request_error")
    assert KEY not in str(api.journal)


def answered(text: str, *, ids: tuple[str, ...] = ("a",), results: tuple[str, ...] = ("a",)) -> list[dict[str, Any]]:
    calls = [{"type": "tool_use", "id": i, "name": "bash", "input": {}} for i in ids]
    given = [{"type": "tool_result", "tool_use_id": i, "content": "ok"} for i in results]
    return [user(text), {"role": "assistant", "content": calls}, {"role": "user", "content": given or "no"}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "assistant", "content": "I begin."}]}, "first message must use"),
        ({"messages": [{"role": "robot", "content": "?"}]}, "messages.0.role"),
        ({"messages": [user(" ")]}, "non-whitespace"),
        ({"messages": [user("x"), {"role": "assistant", "content": "pre"}]}, "prefill"),
        ({"messages": answered("x", results=())}, "without `tool_result` blocks"),
        ({"messages": answered("x", ids=("a", "b"))}, "ids were found without"),
        ({"messages": answered("x", results=("a", "z"))}, "unexpected `tool_use_id`"),
        ({"messages": answered("x", results=("a", "a"))}, "single result"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "unique"),
        ({"tools": [{"name": "x"}]}, "input_schema"),
        ({"extra_body": {"temperature": 0.5}}, "temperature"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "budget_tokens"),
        (
            {"system": [{"type": "text", "text": str(n), "cache_control": {"type": "ephemeral"}} for n in range(5)]},
            "maximum of 4",
        ),
        (
            {
                "system": [
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                ]
            },
            "must not come after",
        ),
    ],
)
def test_what_the_api_would_refuse_is_refused(serve: Open, change: dict[str, Any], words: str):
    api, client = serve({"text": "Hi."})
    with pytest.raises(anthropic.BadRequestError, match=words) as error:
        client.messages.create(**{**request(), **change})
    assert error.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]
    assert error.value.request_id == api.journal[0].request_id


def test_a_changed_thinking_block_is_refused(serve: Open):
    _, client = serve({"thinking": "Hm.", "tools": [CALL]}, {"text": "Fine."})
    body = request(tools=TOOLS)
    following = carried_on(body, streamed(client, body))
    following["messages"][1]["content"][0]["thinking"] = "Something else."
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        client.messages.create(**following)


def test_an_unknown_model_is_404_only_where_the_scenario_lists_models(serve: Open):
    _, client = serve({"text": "Hi."}, models=["claude-sonnet-5-5"])
    with pytest.raises(anthropic.NotFoundError, match="claude-haiku-5-5"):
        client.messages.create(**request())
    with pytest.raises(anthropic.NotFoundError):
        client.models.list()


def test_faults_injected_from_outside_strike_the_next_requests(serve: Open):
    from haikud.offline.scenario import StatusFault

    api, client = serve({"text": "Hi."})
    api.inject(StatusFault(kind="status", status=503))
    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(**request())
    assert client.messages.create(**request()).content


def test_waiting_for_exchanges(serve: Open):
    api, client = serve({"text": "Hi."})
    client.messages.create(**request())
    assert len(api.wait_for(1)) == 1
    with pytest.raises(TimeoutError, match="1 exchanges"):
        api.wait_for(2, seconds=0.05)


def test_a_port_that_is_taken_is_an_error_at_once():
    document: dict[str, object] = {"name": "x", "conversations": [{"turns": [{"text": "x"}]}]}
    with ScriptedApi(document) as first, pytest.raises(OSError, match="address already in use"):
        ScriptedApi(document, port=int(first.base_url.rsplit(":", 1)[1])).start()


def test_as_a_process_it_tells_its_port_keeps_a_journal_and_ends_on_term(tmp_path: Path):
    port_file, journal = tmp_path / "port", tmp_path / "journal.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "haikud.offline", "echo", "--port-file", port_file, "--journal", journal],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(port_file.exists, what="the port file")
        url = f"http://127.0.0.1:{int(port_file.read_text())}"
        with anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0) as client:
            assert client.messages.create(**request(tools=TOOLS)).stop_reason == "tool_use"
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "no model is involved" in said
    line = json.loads(journal.read_text())
    assert (line["path"], line["status"], line["complete"]) == ("/v1/messages", 200, True)
    assert KEY not in journal.read_text()


def test_a_process_without_a_usable_scenario_ends_with_2():
    done = subprocess.run(
        [sys.executable, "-m", "haikud.offline", "nothing-of-the-kind"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "echo, logout" in done.stderr


def test_a_process_ends_with_its_parent_if_asked_to(tmp_path: Path):
    port_file = tmp_path / "port"
    command = f"{sys.executable} -m haikud.offline echo --with-parent --port-file {port_file} & echo $!; read x"
    parent = subprocess.Popen(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_until(port_file.exists, what="the port file")
    parent.kill()
    parent.communicate()
    wait_until(lambda: not Path(f"/proc/{child}").exists() or _is_dead(child), what="the end of the orphan")


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
