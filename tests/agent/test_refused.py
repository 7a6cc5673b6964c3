"""The machine refuses something: the attempt ends as ENVIRONMENT with a report, and goes on when there is room."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.support.attempts import Bench
from tests.support.messages_double import MessagesDouble, calls, says

from haikud.agent.endings import Failed, Hindered
from haikud.agent.hindrances import ending_after
from haikud.agent.result_place import RESERVED_BYTES, ResultPlace
from haikud.agent.worktree import git_work
from haikud.contracts.attempt import EXIT_ENVIRONMENT, FailureClass, Result
from haikud.contracts.base import utc_now
from haikud.contracts.evidence import Evidence
from haikud.contracts.states import AttemptOutcome
from haikud.contracts.usage import UsageTotal
from haikud.sandbox.commands import CannotStart
from haikud.sandbox.trees import TreeStillAlive
from haikud.spool.agent_log import tokens_told
from haikud.spool.layout import AttemptPaths
from haikud.spool.leftovers import is_leftover
from haikud.spool.models import read_model
from haikud.spool.spending import spent_by_transcript
from haikud.workspace.delivery import PushFailed
from haikud.workspace.git import GitError, GitKilled

ROLE = {"tools": ["bash", "edit"], "prompt": "You do tasks."}
MOST_BYTES = 200_000


def test_a_refused_transcript_stops_the_attempt_and_the_next_one_goes_on(bench: Bench):
    """RLIMIT_FSIZE is a refusal that needs no root: the second turn does not fit into the transcript any more."""
    turns = [calls("bash", "toolu_1", command="echo one >> ran"), says("x" * MOST_BYTES), says("All done.")]
    with MessagesDouble(turns) as api:
        given = {"role": ROLE, "api": {"base_url": api.base_url}}
        bench.order(**given)
        result = bench.run(limits={"RLIMIT_FSIZE": MOST_BYTES})
        assert result.outcome is AttemptOutcome.ENVIRONMENT, bench.log()
        assert result.failure_class is None
        assert result.error_report is not None
        assert "File too large" in result.error_report.error.message
        assert "transcript.jsonl" in result.error_report.error.details
        assert result.usage.requests == 2
        log = bench.spool.task(bench.ref).log
        assert tokens_told(log) == result.usage.tokens_used == 2200
        by_transcript, _ = spent_by_transcript(bench.spool.task(bench.ref).transcript, 1)
        assert by_transcript.cost_usd > result.usage.cost_usd  # of the second call only the most is known there
        assert sorted(path.name for path in bench.paths.folder.glob(".*")) == []

        bench.order(**given)
        result = bench.run()
        assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
        assert len(api.journal) == 3
        assert (bench.worktree / "ran").read_text() == "one\n"
        assert api.journal[2].body["messages"] == api.journal[1].body["messages"]


def test_without_descriptors_the_result_says_so_and_without_any_the_exit_code(bench: Bench):
    bench.order("true")
    report = bench.run(limits={"RLIMIT_NOFILE": 7}).error_report
    assert report is not None
    assert report.error.code == "TOO_MANY_FILES"
    assert "LimitNOFILE" in report.next_steps.suggested_action
    bench.order("true")
    process = bench.start(limits={"RLIMIT_NOFILE": 5})
    assert process.wait(timeout=30) == EXIT_ENVIRONMENT, bench.log()
    assert "Too many open files" in bench.log()
    assert not bench.paths.result.exists()


def made_result(**fields: object) -> Result:
    now = utc_now()
    facts = {"ref": "t", "attempt": 2, "outcome": "completed", "usage": UsageTotal(), "began_at": now, "ended_at": now}
    return Result.model_validate({**facts, **fields})


def place_in(folder: Path) -> tuple[ResultPlace, AttemptPaths]:
    paths = AttemptPaths(folder / "attempt-2")
    paths.folder.mkdir()
    return ResultPlace(paths), paths


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_result_goes_into_its_reserve_where_no_file_can_be_written(tmp_path: Path, monkeypatch):
    place, paths = place_in(tmp_path)
    (reserve,) = paths.folder.iterdir()
    assert is_leftover(reserve.name)  # so that what a killed runner leaves is removed
    assert reserve.stat().st_blocks * 512 >= RESERVED_BYTES

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "cannot write durably: No space left on device", str(path))

    monkeypatch.setattr("haikud.agent.result_place.write_durably", full)
    many = [f"src/{'deep/' * 20}{number}.py" for number in range(5000)]
    result = made_result(
        summary="s" * 20_000, payload={"big": "x" * 500_000}, evidence=Evidence(files_changed=many), warnings=many
    )
    place.put(result)
    assert names(tmp_path) == ["attempt-2/result.json"]
    assert paths.result.stat().st_size <= RESERVED_BYTES
    written = read_model(paths.result, Result)
    assert written is not None
    assert (written.outcome, written.usage) == (result.outcome, result.usage)
    assert written.evidence is not None
    assert written.evidence.files_changed == many[:20]
    assert "no room for the whole result" in written.warnings[-1]


def test_an_ordinary_result_gives_its_reserve_back(tmp_path: Path):
    place, paths = place_in(tmp_path)
    place.put(made_result(summary="done"))
    assert names(tmp_path) == ["attempt-2/result.json"]
    assert read_model(paths.result, Result) is not None


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/spool/x")
NO_PROCESS = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [
        (FULL, "NO_SPACE", AttemptOutcome.ENVIRONMENT),
        (caused(CannotStart("cannot start 'bash'"), NO_PROCESS), "NO_PROCESSES", AttemptOutcome.ENVIRONMENT),
        (RuntimeError("can't start new thread"), "NO_PROCESSES", AttemptOutcome.ENVIRONMENT),
        (MemoryError(), "NO_MEMORY", AttemptOutcome.ENVIRONMENT),
        (CannotStart("no such program"), "CANNOT_START", AttemptOutcome.EXITED_WITH_ERROR),
        (TreeStillAlive(["1 x"]), "PROCESSES_LEFT", AttemptOutcome.EXITED_WITH_ERROR),
        (PermissionError(errno.EACCES, "x"), "ENVIRONMENT", AttemptOutcome.EXITED_WITH_ERROR),
    ],
)
def test_what_the_machine_refuses_is_told_from_what_is_wrong(error: Exception, code: str, outcome: AttemptOutcome):
    ending = ending_after(error)
    assert ending is not None
    assert ending.error is not None
    assert (ending.error.code, ending.outcome) == (code, outcome)


def test_a_bug_is_no_hindrance():
    assert ending_after(ValueError("x")) is None


def test_a_git_of_ours_that_has_no_room_is_hindered_and_any_other_fault_of_git_is_a_failure():
    said = "error: unable to write file a: No space left on device\nfatal: unable to write new index file"
    for stderr, kind in ((said, Hindered), ("fatal: bad object", Failed)):
        with pytest.raises(kind) as caught, git_work("Preparing the worktree"):
            raise GitError("failed", "git reset", 128, stderr)
        assert caught.value.error is not None
        assert caught.value.error.operation == "Preparing the worktree"


UNREACHABLE = "fatal: unable to access 'https://example.org/r.git/': Could not resolve host: example.org"
NO_KEY = "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository."


@pytest.mark.parametrize(
    ("said", "cause", "kind"),
    [
        ("failed: git push was killed", GitKilled("killed", "git push", -9, ""), FailureClass.TEMPORARY),
        ("failed", GitError("x", "git push", 128, UNREACHABLE), FailureClass.NETWORK),
        ("failed", GitError("x", "git push", 128, NO_KEY), FailureClass.PERMANENT),
        ("refused it", None, FailureClass.PERMANENT),
    ],
)
def test_a_push_may_pass_where_its_git_was_killed_or_the_network_is_away(
    said: str, cause: GitError | None, kind: FailureClass
):
    with pytest.raises(Failed) as caught, git_work("Pushing"):
        raise PushFailed(said, "PUSH_FAILED") from cause
    assert caught.value.error is not None
    assert caught.value.error.failure_class is kind


def test_a_push_for_which_there_was_no_room_is_hindered():
    cause = GitError("failed", "git push", 128, "fatal: write error: No space left on device")
    with pytest.raises(Hindered), git_work("Pushing"):
        raise PushFailed("failed", "PUSH_FAILED") from cause
