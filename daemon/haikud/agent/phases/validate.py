"""validate: what was done is measured; what the agent said about it changes nothing.

Whatever the agent left running is ended. Its commits are taken over, what it left uncommitted is committed for it.
Then TEST_COMMAND runs on what is committed, LINT_COMMAND is reported. Done needs: tests that exit with 0 where there
are any, and a commit where the task declares files.
"""

from __future__ import annotations

from functools import partial

from haikud.agent.attempt import Attempt, Tested, clean_text
from haikud.agent.endings import Failed
from haikud.agent.errors import AgentError
from haikud.agent.reports.classify import Classified, Doing, classify
from haikud.agent.verification import in_words, results_of, run_check, run_optional, run_tests
from haikud.agent.worktree import attach, git_step, measure_evidence, order_of, take_over
from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType
from haikud.contracts.evidence import VerificationRun
from haikud.contracts.masking import active_masker
from haikud.spool.reading import holds
from haikud.workspace.commits import commit_leftovers


def validate(attempt: Attempt) -> None:
    """Measure the work. Raises Failed where it is not done, Stopped."""
    attempt.end_processes()
    if attempt.left_running:
        attempt.log.line(f"ended what was left running: {'; '.join(attempt.left_running)}")
    if attempt.spec.workspace is None:
        _judge(attempt, None)
        return
    take_over(attempt, looks_for_leftovers=not attempt.is_operation)
    if not attempt.is_operation:
        _commit_leftovers(attempt)
    measure_evidence(attempt)
    _name_deleted_tests(attempt)
    attempt.check_stop()
    tested = attempt.tested if attempt.is_operation else _check(attempt)
    _judge(attempt, tested)


def _commit_leftovers(attempt: Attempt) -> None:
    spec = attempt.spec
    title = " ".join(clean_text(spec.task.title).split()) or spec.ref
    title = active_masker().text(title)  # a repository forgets nothing
    message = f"{title}\n\nLeft uncommitted by {spec.agent_id}; committed by haikud for {spec.ref}.\n"
    sha = git_step(
        attempt,
        "Committing what the agent left",
        lambda: commit_leftovers(
            order_of(attempt), message, attempt.copied, attempt.identity, attempt.asked_of_git.take("leftovers")
        ),
    )
    attempt.evidence["committed_by_runner"] = sha is not None
    if sha is not None:
        attempt.log.line(f"committed what the agent had left uncommitted: {sha[:12]}")


def _name_deleted_tests(attempt: Attempt) -> None:
    deleted = [name[2:] for name in attempt.evidence.get("tests_touched", []) if name.startswith("D ")]
    if deleted:
        attempt.warn(f"the agent deleted tests or test settings: {', '.join(deleted)}")


def _check(attempt: Attempt) -> Tested | None:
    """Run the task's checks, with the private git in place again: tests are untrusted too."""
    context = attempt.spec.task.context
    if not (context.test_command or context.lint_command or context.optional_test_commands):
        return None
    runs: list[VerificationRun] = []
    attempt.evidence["verification"] = runs
    attach(attempt, for_tests=True)
    tested = None
    if context.test_command:
        attempt.events.note(f"Running the tests: {context.test_command}")
        tested = run_tests(attempt, context.test_command)
        runs.extend(tested.runs)
        attempt.evidence.update(tests_passing=tested.passing, flaky=tested.flaky)
        if results := results_of(tested.facts, tested.reports):
            attempt.payload["test_results"] = results
        if tested.flaky:
            attempt.warn("the tests failed once and passed when run again: flaky")
    if tested is None or tested.passing:
        runs.extend(run for run in map(partial(run_optional, attempt), context.optional_test_commands) if run)
    if context.lint_command and not (tested and tested.timed_out):
        attempt.events.note(f"Running the linter: {context.lint_command}")
        run, _ = run_check(attempt, "lint", context.lint_command)
        runs.append(run)
        if run.exit_code != 0:
            how = "was ended at its time limit" if run.timed_out else f"exit code {run.exit_code}"
            attempt.warn(f"lint: {how}; reported only, see the log")
    attempt.end_processes()
    take_over(attempt)
    return tested


def _judge(attempt: Attempt, tested: Tested | None) -> None:
    if tested is not None and not tested.passing:
        raise Failed(_test_failure(attempt, tested))
    needs_commit = bool(attempt.spec.task.files) and not attempt.is_operation and attempt.spec.workspace is not None
    if needs_commit and (not attempt.evidence.get("commits") or _only_templates(attempt)):
        raise Failed(
            AgentError(
                ErrorType.AGENT_ERROR,
                "NO_COMMIT",
                "The agent said done, but its branch has no work of its own although the task declares files",
                details="declared: " + ", ".join(file.path for file in attempt.spec.task.files),
                operation="Measuring the agent's work",
                suggested_action="Check whether the work is there already; else say more explicitly what to change",
            )
        )


def _only_templates(attempt: Attempt) -> bool:
    """Whether all that the branch changes are files as setup copied them in: no work of the agent's."""
    changed = attempt.evidence.get("files_changed", [])
    templates = attempt.templates
    return bool(templates) and all(
        name in templates and holds(attempt.worktree / name, templates[name]) for name in changed
    )


def _test_failure(attempt: Attempt, tested: Tested) -> AgentError:
    last = tested.runs[-1]
    limit = attempt.spec.limits.test_seconds
    late = tested.timed_out
    found = None if late else classify(last.exit_code, tested.last.tail, Doing.TESTS)
    if found is not None:
        return _could_not_run(tested, found)
    return AgentError(
        ErrorType.TIMEOUT if late else ErrorType.TEST_FAILURE,
        "TEST_TIMEOUT" if late else "TEST_FAILURE",
        f"The tests took longer than {limit:g} s and were ended" if late else _in_words(tested),
        details=clean_text(tested.last.tail),
        failure_class=FailureClass.PERMANENT if late else FailureClass.TEST_FAILURE,
        attempted=["Retried tests once (still failed)"] if len(tested.runs) > 1 else [],
        operation="Running test suite",
        command=last.command,
        suggested_action="Raise limits.test_seconds, or look for a test that hangs" if late else "",
        test_report=str(attempt.worktree / tested.reports[0]) if tested.reports else None,
    )


def _in_words(tested: Tested) -> str:
    """The guide's "Test suite failed with 2 errors", with what is known."""
    counts = in_words(tested.facts.counts)
    return f"The tests failed with exit code {tested.runs[-1].exit_code}{f': {counts}' if counts else ''}"


def _could_not_run(tested: Tested, found: Classified) -> AgentError:
    """No test has failed: they could not be run, for want of a program or a file, or for a syntax error."""
    last = tested.runs[-1]
    return AgentError(
        found.type,
        found.code,
        f"The tests could not run (exit code {last.exit_code}): {clean_text(found.said)}",
        details=clean_text(tested.last.tail),
        failure_class=found.failure_class,
        attempted=["Ran the tests twice (the same both times)"] if len(tested.runs) > 1 else [],
        operation="Running test suite",
        command=last.command,
        suggested_action=_CURES.get(found.code, ""),
    )


_CURES = {
    "COMMAND_NOT_FOUND": "Install the test program where the agent's PATH finds it, or let setup_command do so",
    "NOT_EXECUTABLE": "Commit the test script as executable, or name its interpreter in test_command",
    "SYNTAX_ERROR": "Retry the task with the line that the message names",
    "MISSING_FILE": "Commit the file, or install the module in setup_command, that the message names",
}
