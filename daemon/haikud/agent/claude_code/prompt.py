"""What Claude Code is told: compactly, since every word is sent with every call.

The role's Markdown body is the system prompt's end; the task stands in the first message; a run that goes on with its
session is told only what is new. Fails with OSError or ValueError where the assignment cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLE_FILE = Path(__file__).parents[2] / "roles" / "builtin" / "claude-code.md"

_CONVENTIONS = ("CLAUDE.md", "AGENTS.md")
_GO_ON = (
    "Your run on this task was broken off. What you did is in the worktree; a command that was under way may have "
    "happened or not. Look at `git status` and `git log`, then go on and finish the task."
)


@dataclass(frozen=True)
class Task:
    """What the environment says of the task."""

    assignment: dict[str, Any]
    worktree: str
    branch: str
    attempt: int
    guidance: str  # all answers so far, "" for none
    note: str  # why this attempt follows another one, "" for the first
    dependencies: str  # the file with the answers of the tasks that this one builds on


def read_task(environment: Mapping[str, str]) -> Task:
    """The task in the environment of a command agent."""
    assignment = json.loads(Path(environment["TASK_PLAN_FILE"]).read_bytes())
    if not isinstance(assignment, dict):
        raise ValueError("TASK_PLAN_FILE holds no object")  # noqa: TRY004 -- the file is wrong, not a caller
    guidance = environment.get("HAIKUD_GUIDANCE_FILE", "")
    return Task(
        assignment=assignment,
        worktree=environment.get("WORKTREE_PATH") or str(Path.cwd()),
        branch=environment.get("BRANCH_NAME", ""),
        attempt=int(environment.get("HAIKUD_ATTEMPT", "1")),
        guidance=Path(guidance).read_text(encoding="utf-8", errors="replace") if guidance else "",
        note=environment.get("HAIKUD_RESUME_NOTE", ""),
        dependencies=environment.get("HAIKUD_DEPENDENCIES_FILE", ""),
    )


def system_text(path: Path = ROLE_FILE) -> str:
    """The role's own words: the file without its front matter."""
    return path.read_text(encoding="utf-8").split("\n---\n", 1)[1].strip()


def whole_prompt(task: Task) -> str:
    """The first message of a session."""
    given = task.assignment
    context = _object(given.get("context"))
    branch = f", on branch {task.branch}" if task.branch else ""
    parts = [f"You work in {task.worktree}{branch}.", f"Task: {_text(given.get('title'))}"]
    if _text(given.get("description")) not in {"", _text(given.get("title"))}:
        parts.append(_text(given["description"]))
    parts += _listed("Files", [_file_words(one) for one in given.get("file_details") or given.get("files") or []])
    parts += _listed("Steps", given.get("steps"))
    if any("(optional)" in str(step).lower() for step in given.get("steps") or []):
        parts.append("A step marked (optional) may be left undone: where it fails, undo it and say so at the end.")
    parts += _listed("Tests", given.get("tests"))
    parts += _listed("Success criteria", given.get("success_criteria"))
    optional = "; ".join(str(one) for one in context.get("optional_test_commands") or [])
    commands = {
        "Project type": context.get("project_type"),
        "Test command": context.get("test_command"),
        "Tests that need not pass": optional,
        "Lint command": context.get("lint_command"),
    }
    parts += [f"{name}: {value}" for name, value in commands.items() if value]
    parts += _listed("Worth reading first", [*_conventions(task.worktree), *_names(context.get("files"))])
    if context.get("extra"):
        parts.append(f"Further context: {json.dumps(context['extra'], ensure_ascii=False, separators=(',', ':'))}")
    if task.dependencies:
        parts.append(f"Answers of the tasks that this one builds on: {task.dependencies} (JSON)")
    if task.attempt > 1:
        parts.append("Somebody worked on this before you: look at `git status` and `git log` first.")
    parts += _news(task, with_guidance=True)
    return "\n".join(parts)


def follow_up(task: Task, *, guidance_is_new: bool) -> str:
    """What a session that goes on is told."""
    return "\n".join(_news(task, with_guidance=guidance_is_new)) or _GO_ON


def _news(task: Task, *, with_guidance: bool) -> list[str]:
    news = []
    if with_guidance and task.guidance.strip():
        news.append(f"Guidance from the requester: {task.guidance.strip()}")
    if task.note.strip():
        news.append(f"Why the task is given once more: {task.note.strip()}")
    return news


def _conventions(worktree: str) -> list[str]:
    return [name for name in _CONVENTIONS if (Path(worktree) / name).is_file()]


def _file_words(file: object) -> str:
    if not isinstance(file, dict):
        return str(file)
    template = f"template {file['template']}" if file.get("template") else ""
    notes = [word for word in (_text(file.get("operation")), template) if word]
    return f"{file.get('path')} ({', '.join(notes)})" if notes else str(file.get("path"))


def _names(files: object) -> list[str]:
    found = files if isinstance(files, list) else []
    return [str(one.get("path")) if isinstance(one, dict) else str(one) for one in found]


def _listed(name: str, lines: object) -> list[str]:
    found = lines if isinstance(lines, list) else []
    return [f"{name}:", *(f"- {line}" for line in found)] if found else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
