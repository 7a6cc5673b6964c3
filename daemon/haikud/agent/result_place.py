"""A place for result.json that a full disk cannot take away: room and descriptors are taken before anything is done.

`.result.reserve...`, 64 KiB that the filesystem has promised, lies in the attempt's folder as long as the runner lives.
Where the ordinary durable write is refused, the result is written into it in place, fsynced and renamed, with
descriptors that are open already. A result that is longer than that is shortened, and says so.

Fails with OSError: at the start, where not even that room is left, or in the end, where nothing helps.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from haikud.contracts.attempt import Result
from haikud.spool.durable import write_durably
from haikud.spool.layout import AttemptPaths
from haikud.spool.models import dump
from haikud.spool.refusals import refused_by_machine

RESERVED_BYTES = 65_536

_MOST_WORDS = 1000
_MOST_LINES = 20


class ResultPlace:
    """The reserved place of one attempt."""

    def __init__(self, paths: AttemptPaths) -> None:
        self._paths = paths
        # A temporary's name: what a killed runner leaves is removed with those.
        self._reserve = paths.folder / f".result.reserve.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        self._folder = os.open(paths.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._file = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self._file, 0, RESERVED_BYTES)
        except OSError as error:
            if refused_by_machine(error):
                self._reserve.unlink(missing_ok=True)
                raise
            os.write(self._file, bytes(RESERVED_BYTES))  # a filesystem that promises nothing

    def put(self, result: Result) -> None:
        """Write the result durably."""
        try:
            write_durably(self._paths.result, dump(result))
        except OSError as error:
            if refused_by_machine(error) is None:
                raise
            self._put_into_reserve(_fitting(result))
        else:
            self._reserve.unlink(missing_ok=True)
        finally:
            os.close(self._file)
            os.close(self._folder)

    def _put_into_reserve(self, data: bytes) -> None:
        view, offset = memoryview(data), 0
        while offset < len(data):
            offset += os.pwrite(self._file, view[offset:], offset)
        os.ftruncate(self._file, len(data))
        os.fsync(self._file)
        self._reserve.rename(self._paths.result)
        os.fsync(self._folder)


def _fitting(result: Result) -> bytes:
    """The result in at most RESERVED_BYTES: words and lists are cut, never figures."""
    data = dump(result)
    if len(data) <= RESERVED_BYTES:
        return data
    evidence, report, question = result.evidence, result.error_report, result.question
    if evidence is not None:
        lists = ("files_changed", "undeclared_files", "tests_touched", "excluded_files", "left_running")
        evidence = evidence.model_copy(update={name: getattr(evidence, name)[:_MOST_LINES] for name in lists})
    if report is not None:
        error = report.error.model_copy(update={"details": report.error.details[-_MOST_WORDS:], "stack_trace": ""})
        report = report.model_copy(update={"error": error, "attempted_solutions": []})
    if question is not None:
        question = question.model_copy(
            update={
                "reason": question.reason[:_MOST_WORDS],
                "blocker": question.blocker[:_MOST_WORDS],
                "error_details": "",
                "context": [line[:_MOST_WORDS] for line in question.context[:5]],
                "options": [line[:_MOST_WORDS] for line in question.options[:5]],
                "recommendation": question.recommendation[:_MOST_WORDS],
            }
        )
    warnings = [line[:200] for line in result.warnings[:_MOST_LINES]]
    changes: dict[str, Any] = {
        "summary": result.summary[:_MOST_WORDS],
        "payload": {},
        "evidence": evidence,
        "error_report": report,
        "question": question,
        "warnings": [*warnings, "the machine had no room for the whole result: words, lists and payload are cut short"],
    }
    data = dump(result.model_copy(update=changes))
    if len(data) <= RESERVED_BYTES:
        return data
    bare = {**changes, "evidence": None, "question": None, "summary": "", "warnings": changes["warnings"][-1:]}
    return dump(result.model_copy(update=bare))
