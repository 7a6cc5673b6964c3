"""What follows from how Claude Code ended: by its recorded streams."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent.claude_code.test_stream import Listened, recorded

from haikud.agent.claude_code.judging import (
    ASK,
    DONE,
    ENDED,
    FAILED,
    TRY_AGAIN,
    Run,
    Verdict,
    figures,
    judge,
    question_in,
)
from haikud.agent.claude_code.stream import Said


def verdict_on(name: str, code: int, errors: str = "", *, told_to_end: bool = False) -> Verdict:
    return judge(Run(Listened().to(recorded(name)), code, errors, told_to_end))


@pytest.mark.parametrize(
    ("name", "code", "verdict", "words"),
    [
        ("resumed", 0, DONE, "Done."),
        ("tools", 0, DONE, "x"),  # a tool that failed is not a tool that was denied
        ("denied", 0, ASK, "was denied WebFetch (http://127.0.0.1:8080/x)"),
        ("over_budget", 1, ASK, "API Error: 402 haikud: the budget of the task is used up"),
        ("max_budget", 1, ASK, "Reached maximum budget ($0.0003)"),
        ("max_turns", 1, ASK, "Reached maximum number of turns (3)"),
        ("rate_limited", 1, TRY_AGAIN, "Request rejected (429)"),
        ("overloaded", 1, TRY_AGAIN, "529 Overloaded"),
        ("nobody_there", 1, TRY_AGAIN, "Connection refused"),
        ("stalled", 1, TRY_AGAIN, "Stream idle timeout"),
        ("cut_streams", 1, TRY_AGAIN, "Connection to the API was lost"),
        ("interrupted", 0, TRY_AGAIN, "ede_diagnostic"),  # exit code 0, and is_error
        ("no_key", 1, FAILED, "Invalid API key"),
        ("terminated", -9, TRY_AGAIN, "killed (by signal 9)"),
        ("terminated", 1, FAILED, "with exit code 1 and without a result"),
    ],
)
def test_the_result_line_decides(name: str, code: int, verdict: int, words: str):
    found = verdict_on(name, code)
    assert found.exit_code == verdict
    assert words in found.report.get("reason", "") + found.report.get("summary", "")
    assert not found.begin_anew


def test_who_was_told_to_end_has_ended():
    assert verdict_on("terminated", 143, told_to_end=True).exit_code == ENDED
    assert verdict_on("resumed", 0, told_to_end=True).exit_code == ENDED


def test_a_session_that_is_gone_is_begun_anew():
    assert verdict_on("no_session", 1).begin_anew
    assert judge(Run(Said(), 1, "No conversation found with session ID: x")).begin_anew


def test_what_stderr_said_explains_an_end_without_a_result():
    found = judge(Run(Said(), 1, "Error: Input must be provided"))
    assert found.exit_code == FAILED
    assert found.report["reason"].endswith("without a result: Error: Input must be provided")
    assert judge(Run(Said(), 0)).exit_code == FAILED


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(400, FAILED), (403, FAILED), (404, FAILED), (413, FAILED), (408, TRY_AGAIN), (500, TRY_AGAIN), (503, TRY_AGAIN)],
)
def test_statuses(status: int, verdict: int):
    said = Said(result={"is_error": True, "subtype": "success", "api_error_status": status, "result": "it said"})
    assert judge(Run(said, 1)) == Verdict(verdict, {"reason": "it said"})


def test_a_refusal_is_a_failure():
    said = Said(result={"is_error": False, "stop_reason": "refusal", "result": "I cannot"})
    assert judge(Run(said, 0)).exit_code == FAILED


@pytest.mark.parametrize("result", [{}, {"is_error": None}, {"is_error": "false"}, {"subtype": "success"}])
def test_a_result_that_does_not_say_so_is_no_success(result: dict[str, Any]):
    assert judge(Run(Said(result=result), 0)).exit_code == FAILED


def test_a_question_is_asked_by_a_line():
    text = (
        "I looked at both.\n\n**ESCALATE: Which colour?**\nBlocker: none is named\n- Context: a\nContext: b\n"
        "Option: red\nOption: blue\n**Recommendation:** red\nthe end"
    )
    assert question_in(text) == {
        "reason": "Which colour?",
        "blocker": "none is named",
        "context": ["a", "b"],
        "options": ["red", "blue"],
        "recommendation": "red",
    }
    assert question_in("ESCALATE:\nOption: a")["reason"] == "Claude Code asks without saying what"  # type: ignore[index]
    assert question_in("I do not need to ESCALATE: all is clear") is None
    said = Said(result={"is_error": False, "result": text, "permission_denials": [{"tool_name": "Edit"}]})
    found = judge(Run(said, 0))
    assert (found.exit_code, found.report["options"]) == (ASK, ["red", "blue"])


def test_the_cost_is_this_runs_alone():
    said = Listened().to(recorded("resumed"))
    own = figures(said, spent_before=0.0003635, resumed=True)
    assert own["session_cost_usd"] == 0.000727
    assert own["total_cost_usd"] == 0.0003635
    assert own["usage"]["input_tokens"] == 2000
    assert own["usage"]["cache_creation"] == {"ephemeral_1h_input_tokens": 100, "ephemeral_5m_input_tokens": 300}
    assert (own["version"], own["num_turns"], own["resumed"]) == ("2.1.330", 2, True)
    assert said.result is not None
    del said.result["model_usage_since_last_result"]  # which older versions do not say
    old = figures(said, spent_before=0.001, resumed=True)
    assert (old["total_cost_usd"], old["session_cost_usd"]) == (0.000727, 0.001727)
    assert figures(Said(result={"usage": 3, "total_cost_usd": "x"}), spent_before=1, resumed=True)["usage"] == {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
