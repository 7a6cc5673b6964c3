"""What an attempt has used: the journal's word, whatever its result says; and whose tokens are good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from haikud.contracts.attempt import ResolvedRole, Result
from haikud.contracts.decision import Decision
from haikud.contracts.settings import default_settings
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.contracts.usage_journal import AttemptUsage, CallStep, JournalLine
from haikud.engine.attempts.results import read_attempts, used_by_model, used_so_far
from haikud.engine.gateway.accounts import had_token, keep_usage, spent_on, usage_by_journal
from haikud.engine.gateway.tokens import drop_tokens, models_of, new_token
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.usage_journal import JournalWriter

NOW = datetime(2026, 11, 2, 0, 10, tzinfo=UTC)
MODEL = "claude-haiku-5-5"


@pytest.fixture
def layout(tmp_path: Path) -> SpoolLayout:
    made = SpoolLayout(tmp_path)
    made.task("p.t").attempt(1).folder.mkdir(parents=True)
    made.gateway.tokens.mkdir(parents=True)
    return made


def decisions() -> list[Decision]:
    running = Decision(number=1, at=NOW, ref="p.t", state=TaskState.RUNNING, reason="", attempt=1)
    ended = {"number": 2, "state": TaskState.SUCCEEDED, "outcome": AttemptOutcome.COMPLETED}
    return [running, running.model_copy(update=ended)]


def line(step: CallStep, call: str, usd: float, *, ref: str = "p.t", attempt: int = 1) -> JournalLine:
    entry = UsageEntry(at=NOW, model=MODEL, input_tokens=10, cost_usd=usd)
    kept = None if step is CallStep.RELEASED else entry
    named = {"ref": ref, "plan": "p", "task": "t", "attempt": attempt, "role": "worker"}
    return JournalLine.model_validate({"step": step, "call": call, "at": NOW, "entry": kept, **named})


def test_an_attempts_usage_is_the_journals_whatever_its_result_says(layout: SpoolLayout):
    paths = layout.task("p.t").attempt(1)
    claimed = UsageTotal(requests=9, cost_usd=9.0)
    result = Result(ref="p.t", attempt=1, outcome=AttemptOutcome.COMPLETED, usage=claimed, began_at=NOW, ended_at=NOW)
    paths.result.write_bytes(dump(result))
    assert used_so_far(read_attempts(layout.task("p.t"), decisions())) == claimed
    used = UsageTotal(requests=1, cost_usd=0.25)
    keep_usage(paths, AttemptUsage(ref="p.t", attempt=1, total=used, by_model={MODEL: used}))
    found = read_attempts(layout.task("p.t"), decisions())
    assert used_so_far(found) == used
    assert used_by_model(found) == {MODEL: used}


def test_without_a_gateway_the_journal_is_read_and_a_call_without_an_end_counts_as_the_most(layout: SpoolLayout):
    writer = JournalWriter(layout.gateway)
    yesterday = NOW.date() - timedelta(days=1)
    writer.append(line(CallStep.RESERVED, "before midnight", 0.5), yesterday)
    writer.append(line(CallStep.USED, "before midnight", 0.1), yesterday)
    for one in (
        line(CallStep.RESERVED, "open", 0.2),
        line(CallStep.RESERVED, "refused", 0.3),
        line(CallStep.RELEASED, "refused", 0.3),
        line(CallStep.USED, "another attempt's", 0.7, attempt=2),
        line(CallStep.USED, "another task's", 0.7, ref="p.t2"),
    ):
        writer.append(one, NOW.date())
    writer.close()
    found = usage_by_journal(layout.gateway, "p.t", 1, NOW)
    assert found.total.requests == 2
    assert found.total.cost_usd == 0.3
    assert found.estimated_usd == 0.2
    assert found.by_model[MODEL].cost_usd == 0.3
    assert spent_on(layout.gateway, NOW.date()) == 1.6
    assert spent_on(layout.gateway, NOW.date() + timedelta(days=1)) == 0


def test_an_attempt_is_known_to_have_had_a_token_by_any_trace_of_it(layout: SpoolLayout):
    paths = layout.task("p.t").attempt(1)
    assert not had_token(paths, layout.gateway, "p.t", 1)
    paths.spec.write_bytes(b"{")  # an agent has done that
    assert not had_token(paths, layout.gateway, "p.t", 1)
    layout.gateway.token("p.t", 1).write_bytes(b"{}")
    assert had_token(paths, layout.gateway, "p.t", 1)
    layout.gateway.token("p.t", 1).unlink()
    keep_usage(paths, AttemptUsage(ref="p.t", attempt=1))
    assert had_token(paths, layout.gateway, "p.t", 1)


def test_tokens_of_attempts_that_do_not_run_go_but_not_those_of_plans_that_cannot_be_read(layout: SpoolLayout):
    for ref, attempt in (("p.t", 1), ("p.t", 2), ("broken.t", 1), ("alone", 3)):
        layout.gateway.token(ref, attempt).write_bytes(b"{}")
    drop_tokens(layout.gateway, {"p.t.2"}, {"broken"})
    assert {path.name for path in layout.gateway.tokens.iterdir()} == {"p.t.2.json", "broken.t.1.json"}


def test_a_token_names_its_attempt_and_is_never_the_same():
    token, digest = new_token("p.t", 2)
    assert token.startswith("haikud.p.t.2.")
    assert len(digest) == 64
    assert digest not in token
    assert new_token("p.t", 2)[0] != token


def test_only_programs_of_their_own_get_the_small_model_too():
    settings = default_settings().model_copy(update={"models": {"haiku": "small", "sonnet": "large"}})
    assert models_of(ResolvedRole(name="built-in", model="large"), settings) == ["large"]
    assert models_of(ResolvedRole(name="claude", model="large", command=["claude"]), settings) == ["large", "small"]
    assert models_of(ResolvedRole(name="claude", model="small", command=["claude"]), settings) == ["small"]
