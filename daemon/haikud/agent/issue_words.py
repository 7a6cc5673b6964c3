"""What attempts write into issues: others read it, and where the tracker is GitHub it shows no path of this machine."""

from __future__ import annotations

import re

from haikud.agent.attempt import Attempt


def log_line(attempt: Attempt) -> str:
    """Where the task's log is: whole in the local tracker, beneath the spool elsewhere."""
    log = attempt.log_file
    return f"Log: {log.relative_to(attempt.layout.root) if attempt.spec.issues == 'github' else log}"


def fenced(output: str) -> str:
    """What a program printed, so that nothing in it is taken for Markdown or for somebody's name."""
    if not output.strip():
        return ""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", output)), default=0))
    return f"{fence}\n{output.strip()}\n{fence}"
