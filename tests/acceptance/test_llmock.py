"""The built-in agent against a double of the Messages API that it has never seen: PyPI `llmock`, made by others.

llmock knows nothing of haikud: it has no cache fields, no request ids, picks tools by its own lights, breaks streams
in its own way, and judges the client (`assert_resilient`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from tests.support.haiku_orders import make_order
from tests.support.house import House
from tests.support.repository import TEST_COMMAND, git, make_repository

from haikud.agent.haiku.session import HaikuEnd, run_haiku

Work = Callable[..., HaikuEnd]

ADD_SUB = (
    "printf '\\n\\ndef sub(a, b):\\n    return a - b\\n' >> calc.py && "
    f"{TEST_COMMAND} && git add -A && git commit -q -m 'Add sub'"
)


@pytest.fixture
def work(tmp_path: Path, llmock: LLMock) -> Work:
    """`work()` lets the built-in agent work on a small repository, with llmock for a model."""
    repository = make_repository(tmp_path / "project")

    def run(title: str = "Add subtraction to calc.py", **api: Any) -> HaikuEnd:
        return run_haiku(make_order(tmp_path, repository, llmock.base_url("anthropic"), title, **api))

    return run


def events(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


TIMED = {"retry_after_ignored", "no_backoff"}


def assert_resilient(llmock: LLMock, *, strict: bool = False) -> None:
    """Hold the session to llmock's own verdict, but for what it times: its thread may get to a call late.

    How long the client waits is measured on our side of the wire (tests/agent/haiku/test_retries.py among others).
    """
    verdict = llmock.verdict()
    found = verdict.errors + (verdict.warnings if strict else ())
    assert [each for each in found if each.code not in TIMED] == [], verdict.render()


def test_it_completes_a_task(llmock: LLMock, work: Work, tmp_path: Path):
    llmock.call_tool("report_progress", {"percent": 50, "message": "on it"}, text="I begin.")
    llmock.call_tool("bash", {"command": ADD_SUB})
    llmock.reply("Added sub(), and its tests pass.")
    end = work()
    assert (end.kind, end.summary) == ("done", "Added sub(), and its tests pass."), end
    assert git(tmp_path / "project", "log", "-1", "--format=%s") == "Add sub"
    assert end.usage.requests == len(llmock.requests) == 3
    assert end.usage.tokens_used == end.usage.input_tokens + end.usage.output_tokens > 0
    assert end.usage.cache_read_tokens == 0  # llmock tells nothing of a cache, and nothing is made up
    assert [event["percent"] for event in events(tmp_path, "progress")] == [50]
    assert_resilient(llmock, strict=True)


def test_it_runs_whatever_tool_the_double_thinks_of_and_ends(llmock: LLMock, work: Work, tmp_path: Path):
    end = work("Say how far the task is: percent and message, shown to those who wait")
    assert end.kind == "done", end
    assert len(events(tmp_path, "tool")) == 1
    assert len(llmock.requests) == 2


def test_it_waits_as_long_as_it_is_asked_to_and_goes_on(llmock: LLMock, work: Work):
    llmock.rate_limit(times=2, retry_after=0.3)
    llmock.fail(529, times=1, retry_after=0.2)
    llmock.tool_mode("off")
    began = time.monotonic()
    assert work().kind == "done"
    assert time.monotonic() - began >= 0.3 + 0.3 + 0.2
    assert [record.status for record in llmock.requests] == [429, 429, 529, 200]
    assert_resilient(llmock)


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_it_tries_again_after_a_passing_failure(llmock: LLMock, work: Work, status: int):
    llmock.fail(status, times=2)
    llmock.tool_mode("off")
    assert work().kind == "done"
    assert_resilient(llmock, strict=True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_it_does_not_repeat_what_cannot_succeed(llmock: LLMock, work: Work, status: int):
    llmock.fail(status, times=None)
    end = work()
    assert end.kind == "failed"
    assert end.error is not None
    assert str(status) in f"{end.error.code} {end.error.message} {end.error.details}"
    assert len(llmock.requests) == 1
    assert_resilient(llmock, strict=True)


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt", "stall"])
@pytest.mark.parametrize("after_chunks", [1, 4])
def test_a_broken_stream_is_never_taken_for_an_answer(
    llmock: LLMock, work: Work, tmp_path: Path, fault: str, after_chunks: int
):
    llmock.call_tool("bash", {"command": ADD_SUB})
    getattr(llmock, fault)(after_chunks=after_chunks)
    llmock.call_tool("bash", {"command": ADD_SUB})
    llmock.reply("Added sub().")
    end = work()
    assert (end.kind, end.summary) == ("done", "Added sub()."), end
    assert git(tmp_path / "project", "rev-list", "--count", "HEAD") == "2"  # what the broken stream asked for never ran
    assert end.usage.requests >= 2
    assert_resilient(llmock)


def test_an_outage_ends_the_attempt_with_what_was_tried(llmock: LLMock, work: Work):
    llmock.outage()
    end = work()
    assert end.kind == "failed"
    assert end.error is not None
    assert end.error.failure_class == "network"
    assert len(llmock.requests) == 3  # the guide: three attempts
    assert_resilient(llmock)


@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
def test_a_broken_tool_call_is_answered_and_the_work_goes_on(llmock: LLMock, work: Work, kind: str):
    llmock.call_tool("bash", {"command": "true"}).break_tool_call(kind)
    llmock.reply("Done.")
    assert work().kind == "done"


def test_a_prompt_that_is_too_long_ends_it_at_once(llmock: LLMock, work: Work):
    llmock.context_overflow(times=None)
    assert work().kind == "failed"
    assert len(llmock.requests) == 1


def test_a_whole_delegation_to_a_double_that_haikud_has_never_seen(llmock: LLMock, tmp_path: Path):
    house = House(tmp_path / "house")
    house.environment = {"ANTHROPIC_API_KEY": "sk-ant-any", "ANTHROPIC_BASE_URL": llmock.base_url("anthropic")}
    worktree = house.repository / "worktrees" / "strange"
    edit = {"command": "insert", "path": f"{worktree}/calc.py", "insert_line": 2}
    llmock.call_tool("str_replace_based_edit_tool", {**edit, "insert_text": "\n\ndef sub(a, b):\n    return a - b\n"})
    llmock.call_tool("bash", {"command": f"{TEST_COMMAND} && git commit -qam 'Add sub'"})
    llmock.call_tool("report_progress", {"percent": 75, "message": "committed"})
    llmock.reply("Three commits, and I renamed the project.")  # words, not facts
    try:
        house.start()
        house.request("strange", files=["calc.py"], context={"test_command": TEST_COMMAND})
        response = house.response("strange")
        payload = response["payload"]
        assert response["status"] == "success", house.tail()
        assert payload["summary"] == "Three commits, and I renamed the project."
        assert (payload["branch"], payload["worktree"]) == ("feature/strange", "worktrees/strange")
        assert payload["commits"] == int(git(house.repository, "rev-list", "--count", "main..feature/strange")) == 1
        assert (
            payload["files_changed"] == git(worktree, "diff", "--name-only", "main..HEAD").splitlines() == ["calc.py"]
        )
        assert payload["tests_passing"] is True
        assert git(worktree, "status", "--porcelain") == ""
        assert "(75 %)" in house.log("strange") or " 75 " in house.log("strange")
    finally:
        house.close()
