"""Scenarios for the scripted Messages API, written as the tests need them."""

from __future__ import annotations

from typing import Any

EDIT = {
    "text": "I read the file first.",
    "tools": [
        {"name": "str_replace_based_edit_tool", "input": {"command": "view", "path": "{{worktree}}/calc.py"}},
        {"name": "report_progress", "input": {"percent": 25, "message": "read the code"}},
    ],
}
WRITE = {
    "tools": [
        {
            "name": "str_replace_based_edit_tool",
            "input": {
                "command": "str_replace",
                "path": "{{worktree}}/calc.py",
                "old_str": "    return a + b\n",
                "new_str": "    return a + b\n\n\ndef sub(a, b):\n    return a - b\n",
            },
        }
    ],
}
COMMIT = {
    "tools": [
        {"name": "bash", "input": {"command": "python3 -m unittest -q && git add -A && git commit -q -m 'Add sub'"}},
        {"name": "report_progress", "input": {"percent": 75, "message": "committed"}},
    ],
}
DONE = {"text": "Added sub()."}


def conversation(*turns: dict[str, Any], match: str | None = None, name: str = "") -> dict[str, Any]:
    """A conversation of these turns."""
    out: dict[str, Any] = {"turns": list(turns), "name": name}
    if match:
        out["match"] = {"first_message": match}
    return out


def scenario(*conversations: dict[str, Any]) -> dict[str, Any]:
    """A whole scenario document."""
    return {"name": "test", "conversations": list(conversations)}


def add_sub(fault: dict[str, Any] | None = None, at: int = 1) -> list[dict[str, Any]]:
    """The four turns that add sub() to the calculator, with a fault before turn `at` (from 0)."""
    turns: list[dict[str, Any]] = [dict(EDIT), dict(WRITE), dict(COMMIT), dict(DONE)]
    if fault is not None:
        turns[at]["fault"] = fault
    return turns
