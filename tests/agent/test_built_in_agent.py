"""The runner around the built-in agent: its ends become results, its commits evidence, its usage metrics."""

from __future__ import annotations

from typing import Any

from tests.support.attempts import KEY, Bench
from tests.support.made import make_given
from tests.support.messages_double import MessagesDouble, Status, calls, says
from tests.support.repository import TEST_COMMAND, git

from haikud.contracts.attempt import EndOrder
from haikud.contracts.states import AttemptOutcome

ROLE = {"tools": ["bash", "edit", "report_progress", "escalate"], "prompt": "You do tasks."}
ADD_SUB = 'echo "def sub(a, b): return a - b" >> calc.py && git commit -qam "Add sub"; env'


def order(bench: Bench, base_url: str, **more: Any) -> None:
    api = {"base_url": base_url, "retry_waits": [0.01], "quota_wait_seconds": 0, "quota_tries": 1}
    bench.order(role=ROLE, api=api, files=["calc.py"], context={"test_command": TEST_COMMAND}, **more)


def test_its_work_is_measured_and_its_usage_counted(bench: Bench):
    with MessagesDouble([calls("bash", command=ADD_SUB), says("Added sub().")]) as api:
        order(bench, api.base_url)
        result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    assert result.summary == "Added sub()."
    assert result.evidence is not None
    assert (result.evidence.commits, result.evidence.tests_passing) == (1, True)
    assert result.usage.requests == 2
    assert result.usage.tokens_used == 2200
    assert result.usage.cost_usd > 0
    facts = [line.split() for line in bench.log().splitlines() if line.startswith("tokens_used ")]
    assert sum(int(words[1]) for words in facts) == 2200
    assert KEY not in bench.log()
    assert set(result.usage_by_model) == {"claude-haiku-5-5"}


def test_a_question_and_its_answer(bench: Bench):
    asks = calls("escalate", reason="Two ways", blocker="b", context=["c"], options=["x", "y"], recommendation="x")
    with MessagesDouble([asks, says("Did x.")]) as api:
        order(bench, api.base_url)
        result = bench.run()
        assert result.outcome is AttemptOutcome.ESCALATED
        assert result.question is not None
        assert result.question.options == ["x", "y"]
        order(bench, api.base_url, guidance=[make_given("Take x, please.", question="Two ways")])
        result = bench.run()
        assert "Take x, please." in str(api.journal[1].body["messages"][-1])
    assert result.error_report is not None
    assert result.error_report.error.code == "NO_COMMIT"  # words alone are no work


def test_the_accounts_limits_and_missing_keys_are_told_apart(bench: Bench):
    with MessagesDouble([Status(429, headers={"retry-after": "3000"})]) as api:
        order(bench, api.base_url)
        result = bench.run()
        assert result.outcome is AttemptOutcome.QUOTA, bench.log()
        assert result.quota is not None
        assert (result.quota.status, result.quota.retry_after_seconds) == (429, 3000)
        order(bench, api.base_url)
        result = bench.run(key=None)
    assert result.error_report is not None
    assert result.error_report.error.code == "NO_CREDENTIAL"


def test_term_ends_its_command_and_keeps_what_it_did(bench: Bench):
    script = f"{ADD_SUB} >/dev/null; (setsid sleep 600 &); touch $HAIKUD_OUT/here; sleep 600".replace(
        "$HAIKUD_OUT/here", '"$HAIKUD_OUT/here"'
    )
    with MessagesDouble([calls("bash", command=script)]) as api:
        order(bench, api.base_url)
        process = bench.start()
        bench.wait_for("here")
        result = bench.end(process, EndOrder.INTERRUPT)
    assert result.outcome is AttemptOutcome.INTERRUPTED
    assert result.usage.requests == 1
    assert bench.left_running() == []
    assert git(bench.repository, "log", "-1", "--format=%s", bench.branch) == "Add sub"
