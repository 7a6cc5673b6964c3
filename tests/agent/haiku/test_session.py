"""Whole sessions of the built-in agent over real HTTP: turns, tools, endings."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.support.messages_double import Answer, MessagesDouble, Silence, calls, says
from tests.support.waiting import wait_until

from haikud.agent.haiku import transcript as transcript_module
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType

EDITOR = "str_replace_based_edit_tool"


def last_message(api: MessagesDouble) -> dict:
    return api.journal[-1].body["messages"][-1]


def without_marks(value):
    if isinstance(value, dict):
        return {name: without_marks(part) for name, part in value.items() if name != "cache_control"}
    return [without_marks(part) for part in value] if isinstance(value, list) else value


def test_it_edits_runs_and_sums_up(desk):
    new = "\ndef sub(a, b):\n    return a - b\n"
    steps = [
        calls(EDITOR, "toolu_1", text="I look first.", command="view", path=str(desk.worktree / "calc.py")),
        calls(EDITOR, "toolu_2", command="insert", path="calc.py", insert_line=2, insert_text=new),
        calls("bash", "toolu_3", command="python3 -c 'import calc; print(calc.sub(3, 1))'"),
        calls("report_progress", "toolu_4", percent=75, message="works"),
        says("Added sub()."),
    ]
    with MessagesDouble(steps) as api:
        end = desk.run(api.base_url)
    assert (end.kind, end.summary) == ("done", "Added sub().")
    assert end.usage.requests == len(api.journal) == 5
    assert end.usage.tokens_used == 5 * 1100
    assert end.usage_by_model == {"claude-haiku-5-5": end.usage}
    assert end.usage.cost_usd == pytest.approx(5 * (1000 * 0.10 + 100 * 0.50) / 1e6)
    assert end.usage.sonnet_cost_usd == pytest.approx(5 * (1000 * 2 + 100 * 10) / 1e6)
    assert last_message(api)["content"][0]["content"][0]["text"] == "Noted."
    assert api.journal[3].body["messages"][-1]["content"][0]["content"][0]["text"] == "2"
    assert "agent | I look first." in desk.log()
    assert [event["percent"] for event in desk.events("progress")] == [75]
    assert len(desk.events("usage")) == 5
    assert desk.log().splitlines().count("context_tokens 1000") == 5


def test_the_request_is_what_the_api_wants(desk):
    with MessagesDouble([calls("bash", "toolu_1", command="true"), says("Done.")]) as api:
        desk.run(api.base_url)
    first, second = (request.body for request in api.journal)
    assert api.journal[0].headers["authorization"].startswith("Bearer sk-ant-")
    assert first["stream"] is True
    assert first["max_tokens"] == 16_000
    assert "thinking" not in first
    assert [tool["name"] for tool in first["tools"]] == ["bash", EDITOR, "report_progress", "escalate"]
    assert [tool.get("type") for tool in first["tools"][:2]] == ["bash_20250124", "text_editor_20250728"]
    assert first["system"][-1]["text"].startswith("You are careful.")
    opening = first["messages"][0]["content"][0]["text"]
    assert str(desk.worktree) in opening
    assert "Test command: python3 -m unittest" in opening
    assert str(desk.worktree) not in str(first["system"])
    for body in (first, second):
        assert str(body).count("cache_control") <= 4
        assert "cache_control" in body["system"][-1]
        assert "cache_control" in body["messages"][-1]["content"][-1]
    assert without_marks(second["messages"])[: len(first["messages"])] == without_marks(first["messages"])
    assert (second["tools"], second["system"]) == (first["tools"], first["system"])


def test_thinking_can_be_turned_off(desk):
    with MessagesDouble([says("Done.")]) as api:
        desk.run(api.base_url, api={"thinking": "off"})
    assert api.journal[0].body["thinking"] == {"type": "disabled"}


def test_a_turn_goes_back_exactly_as_it_came(desk):
    blocks = [
        {"type": "thinking", "thinking": "Let me see: 1 + 1.", "signature": "c2lnbmF0dXJl"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "I run it.", "citations": None},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "bash",
            "input": {"command": "echo 'grüß\u2028dich' 😀", "more": 1.0},
            "caller": {"type": "direct"},
        },
    ]
    with MessagesDouble([Answer(blocks, stop_reason="tool_use"), says("Done.", broken="cut"), says("Done.")]) as api:
        desk.run(api.base_url, api={"tries": 1})
        desk.run(api.base_url)  # and once more out of the transcript
    assert api.journal[1].body["messages"][1] == {"role": "assistant", "content": blocks}
    assert api.journal[2].body["messages"] == api.journal[1].body["messages"]


def test_a_role_gets_only_its_tools(desk):
    with MessagesDouble([calls("bash", command="touch made"), says("Done.")]) as api:
        desk.run(api.base_url, role={"tools": []})
    assert [tool["name"] for tool in api.journal[0].body["tools"]] == ["report_progress", "escalate"]
    result = last_message(api)["content"][0]
    assert result["is_error"]
    assert "no such tool" in result["content"][0]["text"]
    assert not (desk.worktree / "made").exists()


def test_an_answer_cut_at_its_limit_goes_on_without_the_half_block(desk):
    cut = Answer(
        [
            {"type": "text", "text": "I write"},
            {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": '{"command": "touch ma'},
        ],
        stop_reason="max_tokens",
    )
    with MessagesDouble([cut, says("Done.")]) as api:
        assert desk.run(api.base_url).kind == "done"
    *_, assistant, user = api.journal[1].body["messages"]
    assert assistant["content"] == [{"type": "text", "text": "I write"}]
    assert "cut off" in user["content"][0]["text"]


def test_answers_that_are_cut_again_and_again_end_it(desk):
    with MessagesDouble([says("and", stop_reason="max_tokens") for _ in range(9)]) as api:
        end = desk.run(api.base_url)
    assert (end.kind, len(api.journal)) == ("failed", 4)
    assert end.error is not None
    assert end.error.code == "OUTPUT_LIMIT"


def test_a_refusal_ends_at_once_and_is_never_sent_back(desk):
    with MessagesDouble([says("I cannot.", stop_reason="refusal"), says("Done.")]) as api:
        end = desk.run(api.base_url)
        assert end.kind == "failed"
        assert end.error is not None
        assert end.error.code == "MODEL_REFUSED"
        assert "I cannot." in end.error.message
        assert end.usage.requests == 1
        desk.run(api.base_url)
    assert [message["role"] for message in api.journal[1].body["messages"]] == ["user"]


def test_a_paused_turn_is_sent_back_as_it_is(desk):
    with MessagesDouble([says("Wait", stop_reason="pause_turn"), says("Done.")]) as api:
        assert desk.run(api.base_url).kind == "done"
    assert [message["role"] for message in api.journal[1].body["messages"]] == ["user", "assistant"]


def test_an_unknown_stop_reason_is_a_failure(desk):
    with MessagesDouble([says("?", stop_reason="bored")]) as api:
        end = desk.run(api.base_url)
    assert end.error is not None
    assert (end.kind, end.error.code) == ("failed", "UNKNOWN_STOP_REASON")
    assert "bored" in end.error.message


def test_turns_are_limited_and_the_next_attempt_goes_on(desk):
    steps = [calls("bash", f"toolu_{n}", command=f"echo {n}") for n in range(4)]
    with MessagesDouble([*steps, says("Done.")]) as api:
        end = desk.run(api.base_url, limits={"max_turns": 2})
        assert end.kind == "max_turns"
        assert end.error is not None
        assert end.usage.requests == 2
        assert desk.run(api.base_url).kind == "done"
    assert len(api.journal) == 5


def test_a_pause_is_obeyed_before_the_next_call_and_the_work_goes_on_from_there(desk):
    held = calls("bash", command="touch begun; while test ! -e paused; do sleep 0.01; done")

    def pause() -> None:
        wait_until((desk.worktree / "begun").exists)
        desk.pause = True
        (desk.worktree / "paused").touch()

    with MessagesDouble([held, says("Done.")]) as api:
        thread = threading.Thread(target=pause)
        thread.start()
        assert desk.run(api.base_url).kind == "paused"
        thread.join()
        assert len(api.journal) == 1
        desk.pause = False
        assert desk.run(api.base_url).kind == "done"
    assert len(api.journal) == 2


@pytest.mark.parametrize(
    "step",
    [says("A long answer that never ends", broken="stall"), Silence(), calls("bash", command="echo on; sleep 300")],
    ids=["stream", "before-the-first-byte", "tool"],
)
def test_a_stop_ends_it_promptly_wherever_it_is(desk, step):
    stopped_at: list[float] = []

    def stop() -> None:
        wait_until(lambda: api.journal)
        if isinstance(step, Answer) and not step.broken:
            wait_until(lambda: "agent | on" in desk.log())
        desk.stop.wait(0.3)  # time to be in the middle of it
        stopped_at.append(time.monotonic())
        desk.stop.set()

    with MessagesDouble([step]) as api:
        thread = threading.Thread(target=stop)
        thread.start()
        end = desk.run(api.base_url, api={"stall_seconds": 60.0})
        took = time.monotonic() - stopped_at[0]
        thread.join()
    assert end.kind == "stopped"
    assert took < 3
    assert end.usage.requests == (0 if isinstance(step, Silence) else 1)


def test_without_a_key_nothing_is_called(desk):
    with MessagesDouble([]) as api:
        end = desk.run(api.base_url, api_key=None)
        assert api.journal == []
    assert end.error is not None
    assert (end.kind, end.error.code, end.error.type) == ("failed", "NO_CREDENTIAL", ErrorType.API_ERROR)
    assert "ANTHROPIC_API_KEY" in end.error.message


@pytest.mark.parametrize("key", ["sk-ant-x\n", "sk-ant-\u00fc", "two words"])
def test_a_key_that_cannot_be_one_is_told_without_being_shown(desk, key):
    end = desk.run("http://127.0.0.1:9", api_key=key)
    assert end.error is not None
    assert end.error.code == "BAD_CREDENTIAL"
    assert key.strip() not in str(end)


def test_a_model_without_a_price_is_never_called(desk):
    with MessagesDouble([]) as api:
        end = desk.run(api.base_url, role={"model": "claude-nonesuch-1"})
        assert api.journal == []
    assert end.error is not None
    assert end.error.code == "UNKNOWN_MODEL_PRICE"
    assert end.error.failure_class is FailureClass.PERMANENT


def test_a_base_url_that_is_none_is_told(desk):
    end = desk.run("localhost:8080")
    assert end.error is not None
    assert end.error.code == "BAD_BASE_URL"


def test_the_turn_is_durable_before_its_tool_runs(desk):
    with MessagesDouble([calls("bash", command="grep -c assistant ../transcript.jsonl"), says("Done.")]) as api:
        desk.run(api.base_url)
    assert last_message(api)["content"][0]["content"][0]["text"] == "1"
    assert (desk.folder / "transcript.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_not_asked_for_a_server_on_loopback(desk, monkeypatch, name: str):
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with MessagesDouble([says("Done.")]) as api:
        assert desk.run(api.base_url).kind == "done"


def test_what_a_conversation_begins_with_is_durable_at_once_and_before_the_first_call(desk, monkeypatch):
    written = []
    real = transcript_module.append_durably

    def append(path: Path, *lines: bytes) -> None:
        written.append((len(lines), len(api.journal)))
        real(path, *lines)

    monkeypatch.setattr(transcript_module, "append_durably", append)
    with MessagesDouble([says("Done.")]) as api:
        desk.run(api.base_url)
    assert written[0] == (2, 0)
    assert [line.kind for line in desk.transcript()][:2] == ["attempt", "user"]
