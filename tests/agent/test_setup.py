"""setup on real runners: worktrees, dependencies, copies, templates and the setup command."""

from __future__ import annotations

from pathlib import Path

from tests.support.attempts import Bench
from tests.support.repository import git

from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType
from haikud.contracts.plan import FileSpec
from haikud.contracts.states import AttemptOutcome


def branch_with(bench: Bench, name: str, line: str) -> None:
    git(bench.repository, "switch", "-q", "-c", name, "main")
    with (bench.repository / "calc.py").open("a") as file:
        file.write(line)
    git(bench.repository, "commit", "-qam", name)
    git(bench.repository, "switch", "-q", "main")


def test_a_dependant_starts_from_its_dependencies_branches(bench: Bench):
    branch_with(bench, "feature/first", "# first\n")
    bench.order("tail -1 calc.py", merge_refs=["feature/first"])
    result = bench.run()
    assert (result.outcome, result.summary) == (AttemptOutcome.COMPLETED, "# first")
    assert result.evidence is not None
    assert (result.evidence.commits, result.evidence.files_changed) == (0, [])


def test_a_merge_conflict_is_a_question_that_names_both_branches_and_their_diffs(bench: Bench):
    branch_with(bench, "feature/first", "# first\n")
    branch_with(bench, "feature/second", "# second\n")
    bench.order('touch "$HAIKUD_OUT/ran"', merge_refs=["feature/first", "feature/second"])
    result = bench.run()
    assert result.outcome is AttemptOutcome.ESCALATED
    assert result.question is not None
    question = result.question
    assert question.reason == "Merge conflict between feature/first and feature/second in calc.py"
    assert "calc.py" in question.blocker
    assert "+# first" in question.error_details
    assert "+# second" in question.error_details
    assert len([line for line in question.context if "git diff" in line]) == 2
    assert "git merge feature/first" in question.options[0]
    assert not (bench.paths.out / "ran").exists()
    assert git(bench.worktree, "status", "--porcelain") == ""


def test_a_branch_that_is_not_ours_is_an_error_and_not_reused(bench: Bench):
    git(bench.repository, "branch", bench.branch)
    bench.order("true")
    result = bench.run()
    assert result.failure_class is FailureClass.PERMANENT
    assert result.error_report is not None
    assert (result.error_report.type, result.error_report.error.code) == (ErrorType.GIT_ERROR, "BRANCH_TAKEN")
    assert result.error_report.context.operation == "Preparing the worktree"


def test_a_known_template_is_copied_in_and_an_unknown_one_is_a_hint(bench: Bench, tmp_path: Path):
    templates = tmp_path / "templates" / "files"
    templates.mkdir(parents=True)
    (templates / "greeting.yaml").write_text("description: d\ncontent: |\n  Hello @name@\n")
    (bench.repository / "there.txt").write_text("mine\n")
    git(bench.repository, "add", "there.txt")
    git(bench.repository, "commit", "-qm", "there")
    files = [
        FileSpec(path="src/World.txt", operation="create", template="greeting"),
        FileSpec(path="there.txt", template="greeting"),
        FileSpec(path="other.txt", template="no-such"),
    ]
    bench.order('cat src/World.txt there.txt; cat "$TASK_PLAN_FILE"', files=files, templates_dir=str(templates.parent))
    result = bench.run()
    assert result.error_report is not None
    assert result.error_report.error.code == "NO_COMMIT"  # a template as it was copied in is no work
    assert "agent | Hello World\nagent | mine\n" in bench.log()
    assert any("unknown template 'no-such'" in warning for warning in result.warnings)
    assert "other.txt is to be made from a template" in bench.paths.assignment.read_text()
    assert result.evidence is not None
    assert result.evidence.files_changed == ["src/World.txt"]


def test_the_setup_command_runs_once_and_its_failure_may_be_tried_again(bench: Bench):
    context = {
        "setup_command": 'echo "$HOME"; echo no network >&2; [ -e "$HAIKUD_OUT/../../mended" ] && echo did >> setup.log'
    }
    bench.order("cat setup.log; git rm -q --cached setup.log 2>/dev/null; rm setup.log", context=context)
    result = bench.run()
    assert result.failure_class is FailureClass.DEPENDENCY_INSTALL
    report = result.error_report
    assert report is not None
    assert (report.type, report.error.code) == (ErrorType.DEPENDENCY_ERROR, "SETUP_FAILED")
    assert "no network" in report.error.details
    assert report.attempted_solutions == []
    assert report.next_steps.requires_escalation is False
    (bench.spool.task(bench.ref).folder / "mended").touch()
    for expected in ("did", ""):
        bench.order("cat setup.log 2>/dev/null; rm -f setup.log; true", context=context)
        result = bench.run()
        assert (result.outcome, result.summary) == (AttemptOutcome.COMPLETED, expected), bench.log()


def test_a_setup_command_has_a_limit(bench: Bench):
    bench.order("true", context={"setup_command": "sleep 600"}, limits={"setup_seconds": 0.3})
    report = bench.run().error_report
    assert report is not None
    assert report.error.code == "SETUP_TIMEOUT"
    assert bench.left_running() == []


def test_a_command_that_cannot_be_started_is_reported(bench: Bench):
    bench.order("true", context={"setup_command": "x" * 200_000})
    report = bench.run().error_report
    assert report is not None
    assert (report.error.code, report.type) == ("CANNOT_START", ErrorType.AGENT_ERROR)
