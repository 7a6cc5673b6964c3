"""The doctor and Claude Code: never a fault, always a cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.agent.claude_code import judging
from haikud.engine.upkeep.claude_check import HOW_TO_GET_IT, check_claude
from haikud.engine.upkeep.findings import Severity


def look(folder: Path, script: str | None) -> tuple[Severity, str, str]:
    if script is not None:
        (folder / "claude").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / "claude").chmod(0o755)
    (found,) = check_claude({"PATH": f"{folder}", "ANTHROPIC_API_KEY": "sk-ant-secret"})
    return found.severity, found.message, found.cure


@pytest.mark.parametrize(
    ("script", "severity", "message"),
    [
        (None, Severity.NOTE, "claude is not there"),
        ("echo '2.1.197 (Claude Code)'", Severity.NOTE, "claude 2.1.197 is older than 2.1.330"),
        ("echo '2.1.330 (Claude Code)'", Severity.OK, "claude 2.1.330"),
        ("echo '10.0.0'; test -z \"$ANTHROPIC_API_KEY\"", Severity.OK, "claude 10.0.0"),
        ("echo 2.1.330; exit 3", Severity.NOTE, "claude does not say its version"),
        ("echo hello", Severity.NOTE, "claude does not say its version"),
    ],
)
def test_it_is_found_and_asked(tmp_path: Path, script: str | None, severity: Severity, message: str):
    found = look(tmp_path, script)
    assert found[0] is severity
    assert found[1].startswith(message)
    assert found[2].startswith(HOW_TO_GET_IT) == (severity is Severity.NOTE)


def test_the_cure_is_the_one_that_a_failed_task_names():
    assert HOW_TO_GET_IT == judging.HOW_TO_GET_IT
