"""A runner killed between two durable lines: the next attempt goes on there, asks nothing again, runs nothing again."""

from __future__ import annotations

from typing import Any

from tests.support.attempts import Bench
from tests.support.messages_double import MessagesDouble, calls, says

from haikud.contracts.states import AttemptOutcome
from haikud.spool.spending import spent_by_transcript

ROLE = {"tools": ["bash", "edit"], "prompt": "You do tasks."}


def results_of(message: dict[str, Any]) -> dict[str, str]:
    """Tool use id -> what the model is told."""
    return {
        block["tool_use_id"]: block["content"][0]["text"]
        for block in message["content"]
        if block["type"] == "tool_result"
    }


def test_a_runner_that_dies_around_a_tool_call_neither_asks_nor_runs_again(bench: Bench):
    turns = [
        calls("bash", "toolu_1", command="echo one >> ran"),
        calls("bash", "toolu_2", command="echo two >> ran"),
        says("All done."),
    ]
    with MessagesDouble(turns) as api:
        given = {"role": ROLE, "api": {"base_url": api.base_url}}

        bench.order(**given)
        assert (
            bench.start(dying="after:assistant:1").wait(timeout=60) == -9
        )  # the turn is durable, its tool has not run
        assert not (bench.worktree / "ran").exists()

        bench.order(**given)
        # The first result is that of the call above, which nobody knows about; the second that of a tool that has run.
        assert bench.start(dying="before:tool_result:2").wait(timeout=60) == -9, bench.log()
        assert (bench.worktree / "ran").read_text() == "two\n"

        bench.order(**given)
        result = bench.run()
        assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
        assert result.summary == "All done."

    assert len(api.journal) == 3
    assert (bench.worktree / "ran").read_text() == "two\n"
    for request, call in ((1, "toolu_1"), (2, "toolu_2")):
        told = results_of(api.journal[request].body["messages"][-1])
        assert list(told) == [call]
        assert "may or may not have happened" in told[call]
    spent = [spent_by_transcript(bench.spool.task(bench.ref).transcript, n)[0].tokens_used for n in (1, 2, 3)]
    assert spent == [1100, 1100, 1100]
    assert result.usage.tokens_used == 1100
