"""What a failing tool result says, for monitors: the error in one line, and a digest of all it says about it. Pure.

The digest leaves out what differs from run to run (times, addresses, temporary paths) and nothing else: an error that
moved to another line, or became another one, shows that something was done about it.
"""

from __future__ import annotations

import hashlib
import re

from haikud.agent.testing.text import read_output

_TELLING = re.compile(
    r"error|exception|failed|failure|fatal|cannot|can't|could not|not found|no such|denied|refused|unable|undefined"
    r"|unexpected|invalid|missing|traceback|panic|abort|assert|expected|\bE\s{3}|✗|✕|❌",
    re.IGNORECASE,
)
_CHANGING = re.compile(
    r"0x[0-9a-f]+|\b\d{4}-\d\d-\d\d\b|\b\d\d?:\d\d(:\d\d)?([.,]\d+)?\b"
    r"|\b\d+([.,]\d+)?\s*(ms|s|secs?|seconds?|minutes?)\b|/tmp/\S+|\bpid \d+",
    re.IGNORECASE,
)
_NOTE = re.compile(r"\[(exit code \d+|killed by signal \d+|not finished after .*)\]")
_TEST_PROGRAM = re.compile(
    r"(?<![\w.-])((pytest|py\.test|unittest|tox|nox|jest|vitest|mocha|phpunit|rspec|ctest)(?![\w.-])"
    r"|(npm|pnpm|yarn|bun|cargo|go|mvn|gradle|gradlew|dotnet|swift|mix|sbt|make|deno)\s+(run\s+)?(test|check)(?![\w.-]))"
)
_MOST_LINE = 200


def find_failure(text: str, use: str) -> tuple[str, str]:
    """The error and its digest. A failure that says nothing of itself is one of its very use, whose digest is `use`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = [line for line in lines if not _NOTE.fullmatch(line)]
    telling = [line for line in words if _TELLING.search(line)]
    if not telling:
        said = words[-1] if words else lines[-1] if lines else "it failed without a word"
        return said[:_MOST_LINE], _digest([use, *words[-1:]])
    return telling[0][:_MOST_LINE], _digest(telling)


def judge_tests(command: str, test_command: str | None, text: str, *, failed: bool) -> str | None:
    """`passing` or `failing` where the command ran the tests. A pipe hides an exit code: what was counted, counts."""
    said = " ".join(command.split())
    named = " ".join((test_command or "").split())
    if not (named and named in said) and not _TEST_PROGRAM.search(said):
        return None
    return "failing" if failed or read_output(text).failed else "passing"


def _digest(lines: list[str]) -> str:
    same = "\n".join(_CHANGING.sub("~", line) for line in lines)
    return hashlib.sha256(same.encode("utf-8", "replace")).hexdigest()[:16]
