"""What an attempt does when a monitor's order comes, or when it finds undeclared changes itself."""

from __future__ import annotations

from typing import Any

from tests.support.attempts import Bench
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.agent.intervention_questions import question_about
from haikud.contracts.attempt import AttemptEvent, Orders, Spec
from haikud.contracts.intervention import Intervention, Trigger
from haikud.contracts.settings import MonitorSettings
from haikud.contracts.states import AttemptOutcome, Phase
from haikud.spool.durable import write_quickly
from haikud.spool.models import dump, iter_lines

SILENT = Intervention(trigger=Trigger.SILENCE, message="no sign of it", evidence=["It was last seen reading"])
WORK = "echo '# mine' >> calc.py; echo x > other.py; echo '{}' > package-lock.json; git add -A; git commit -qm Work\n"


def monitors(**settings: Any) -> MonitorSettings:
    return MonitorSettings.model_validate(settings)


def test_a_command_agent_is_ended_with_the_facts_and_its_work_is_kept(bench: Bench):
    bench.order(WORK + "echo unsaved >> calc.py; echo waiting; exec sleep 1000", files=["calc.py"])
    process = bench.start()
    noted = "changed, and not declared by the task: other.py"
    wait_until(lambda: noted in bench.log(), what="the undeclared file to be noted")
    write_quickly(bench.paths.orders, dump(Orders(intervene=SILENT)))
    assert process.wait(timeout=30) == 0, bench.log()
    result = bench.result()
    assert (result.outcome, result.intervention) == (AttemptOutcome.ESCALATED, SILENT)
    assert result.question is not None
    seen, log, status, processes = result.question.context
    assert seen == "It was last seen reading"
    assert "agent | waiting" in log
    assert "\n M calc.py" in status
    assert "\n?? other.py" in status
    assert " s sleep 1000" in processes
    assert str(process.pid) not in processes  # the runner's own
    assert not bench.left_running()
    assert git(bench.repository, "log", "-1", "--format=%s", bench.branch) == "Work"
    assert (bench.worktree / "calc.py").read_text().endswith("unsaved\n")
    assert result.evidence is not None
    assert result.evidence.commits == 1


def test_undeclared_changes_are_asked_about_before_the_checks_and_once(bench: Bench):
    tests = {"test_command": 'touch "$HAIKUD_OUT/tested"'}
    bench.order(WORK, files=["calc.py"], context=tests, monitors=monitors(undeclared="escalate"))
    result = bench.run()
    assert result.outcome is AttemptOutcome.ESCALATED, bench.log()
    assert result.intervention is not None
    assert (result.intervention.trigger, result.intervention.files) == (Trigger.UNDECLARED_FILES, ["other.py"])
    assert not (bench.paths.out / "tested").exists()
    told = [event.undeclared for event in iter_lines(bench.paths.events, AttemptEvent) if event.undeclared is not None]
    assert told == [["other.py"]]
    bench.order("true", files=["calc.py"], monitors=monitors(undeclared="escalate"), accepted_files=["other.py"])
    assert bench.run().outcome is AttemptOutcome.COMPLETED, bench.log()


def test_a_pause_reaches_an_attempt_between_two_phases(bench: Bench):
    bench.order('touch "$HAIKUD_OUT/ran"', context={"setup_command": "sleep 0.1"})
    write_quickly(bench.paths.orders, dump(Orders(pause=True)))
    result = bench.run()
    assert (result.outcome, result.last_phase) == (AttemptOutcome.PAUSED, Phase.SETUP)
    assert not (bench.paths.out / "ran").exists()


def test_signs_of_life_tell_a_silent_agent_from_a_command_that_may_be_silent(bench: Bench):
    quick = monitors(silence_seconds=0.4)
    bench.order("sleep 0.3; echo here; sleep 0.5", context={"test_command": "sleep 0.3"}, monitors=quick)
    bench.run()
    events = list(iter_lines(bench.paths.events, AttemptEvent))
    kinds = [str(event.kind) for event in events if event.phase is Phase.IMPLEMENT]
    assert {"waits", "output"} <= set(kinds)
    assert kinds[-1] == "waits"
    heard = [event for event in events if event.kind == "output"]
    assert len(heard) == 1
    tested = [event for event in events if event.phase is Phase.VALIDATE and event.quiet_seconds]
    assert tested[0].quiet_seconds == 1800 + 0.5  # its limit and what ending it may take
    assert all(event.clock is not None for event in events)


def test_the_question_offers_what_fits(bench: Bench):
    bench.order(None, role={"tools": ["bash"]})
    spec = Spec.model_validate_json(bench.paths.spec.read_bytes())
    options = question_about(SILENT, spec, []).options
    assert [option.partition(" ")[0] for option in options] == ["Continue", "Reassign", "Retry", "Cancel"]
    assert 'haikud answer task-1 --model sonnet "TEXT"' in options[1]
    bench.order("true")
    command = question_about(SILENT, Spec.model_validate_json(bench.paths.spec.read_bytes()), [])
    assert "action reassign, role ROLE" in command.options[1]
    assert command.recommendation.startswith("Retry fresh")
