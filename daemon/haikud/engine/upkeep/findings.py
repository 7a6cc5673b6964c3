"""Findings: what the doctor saw, whether it is a fault, and the cure. Pure.

A fault is something that haikud promises and that is not so. A note is worth knowing: it harms nothing, or the next
daemon settles it at its start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from haikud.contracts.base import JsonObject


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


class Code(StrEnum):
    """What was found. The words are for programs and stay; docs/doctor.md has the table."""

    # the machine
    GIT = "git"
    GH = "gh"
    CLAUDE = "claude"
    API_KEY = "api_key"
    SETTINGS = "settings"
    FILESYSTEM = "filesystem"
    FREE_SPACE = "free_space"
    FSYNC = "fsync"
    LOCKS = "locks"
    INOTIFY = "inotify"
    DESCRIPTORS = "descriptors"
    SANDBOX = "sandbox"
    BOOT_ID = "boot_id"
    FORMAT = "format"
    PERMISSIONS = "permissions"
    REPOSITORIES = "repositories"
    GATEWAY = "gateway"
    DAEMON = "daemon"
    # the spool's own files
    FOLDER_MISSING = "folder_missing"
    QUEUE_UNREADABLE = "queue_unreadable"
    DAY_SPEND_UNREADABLE = "day_spend_unreadable"
    STATUS_UNREADABLE = "status_unreadable"
    TOKEN_LEFT = "token_left"  # noqa: S105 - a code
    JOURNAL_UNREADABLE = "journal_unreadable"
    TEMPORARY_LEFT = "temporary_left"
    BUILD_LEFT = "build_left"
    TAKEN_LEFT = "taken_left"
    UNKNOWN_FILE = "unknown_file"
    PRUNE_UNFINISHED = "prune_unfinished"
    # plans and tasks
    PLAN_UNREADABLE = "plan_unreadable"
    PLAN_MISMATCH = "plan_mismatch"
    REQUEST_CHANGED = "request_changed"
    DECISION_MISSING = "decision_missing"
    DECISION_UNREADABLE = "decision_unreadable"
    DECISION_ILLEGAL = "decision_illegal"
    LINK_MISSING = "link_missing"
    LINK_DOUBLE = "link_double"
    LINK_WRONG = "link_wrong"
    LINK_TARGET = "link_target"
    LINK_DANGLING = "link_dangling"
    LOG_LINK_WRONG = "log_link_wrong"
    LOG_LINK_DANGLING = "log_link_dangling"
    # answers and questions
    RESPONSE_MISSING = "response_missing"
    RESPONSE_UNREADABLE = "response_unreadable"
    RESPONSE_WRONG = "response_wrong"
    RESPONSE_TOO_EARLY = "response_too_early"
    RESPONSE_STRAY = "response_stray"
    ESCALATION_MISSING = "escalation_missing"
    ESCALATION_STALE = "escalation_stale"
    # attempts and processes
    RUNNER_GONE = "runner_gone"
    CLAIM_HELD = "claim_held"
    PROCESS_LEFT = "process_left"
    # repositories
    REPOSITORY_GONE = "repository_gone"
    OWNER_UNREADABLE = "owner_unreadable"
    OWNER_WITHOUT_TASK = "owner_without_task"
    WORKTREE_GONE = "worktree_gone"
    MERGE_LEFT = "merge_left"
    GIT_LEFT_ATTACHED = "git_left_attached"
    GIT_LOCK_LEFT = "git_lock_left"
    GIT_TEMPORARY_LEFT = "git_temporary_left"
    BRANCH_GONE = "branch_gone"
    WORK_UNREACHABLE = "work_unreachable"


MACHINE = frozenset(list(Code)[: list(Code).index(Code.DAEMON) + 1])
"""The codes about the machine; the others are about the spool."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at and is worth a line."""

    code: Code
    severity: Severity
    message: str
    path: str = ""
    ref: str | None = None  # of the task, or the plan's id
    cure: str = ""
    repaired: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other findings, over several looks."""
        return self.code, self.path, self.ref or ""

    def as_json(self) -> JsonObject:
        """For `--json`."""
        return {**asdict(self), "code": str(self.code), "severity": str(self.severity)}

    def mended(self, message: str) -> Finding:
        """The same, repaired; `message` says what was done."""
        return replace(self, severity=Severity.OK, message=message, repaired=True)


def fault(code: Code, message: str, path: Path | str = "", ref: str | None = None, cure: str = "") -> Finding:
    """Something that is promised and is not so."""
    return Finding(code, Severity.FAULT, message, str(path), ref, cure)


def note(code: Code, message: str, path: Path | str = "", ref: str | None = None, cure: str = "") -> Finding:
    """Something worth knowing."""
    return Finding(code, Severity.NOTE, message, str(path), ref, cure)


def ok(code: Code, message: str, path: Path | str = "") -> Finding:
    """Something that was looked at and is as it should be."""
    return Finding(code, Severity.OK, message, str(path))


def in_both(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """The findings of the second look that were there at the first one already."""
    known = {one.key for one in first}
    return [one for one in second if one.key in known]
