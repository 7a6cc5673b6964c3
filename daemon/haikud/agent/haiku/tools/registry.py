"""Which tools an agent has, and the one place where they are used.

Promises: the order of the definitions is fixed (they head the cached prefix). A tool never raises for what the model
did: unknown tools, wrong input and refusals of the system come back as results with `is_error`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from haikud.agent.haiku.conversation import Block
from haikud.agent.haiku.tools.bash import BashTool, Shell
from haikud.agent.haiku.tools.editor import EditorTool
from haikud.agent.haiku.tools.failures import find_failure, judge_tests
from haikud.agent.haiku.tools.outcome import BadInput, ToolOutcome
from haikud.agent.haiku.tools.overflow import HeadAndTail
from haikud.agent.haiku.tools.report import ESCALATE, REPORT_PROGRESS, escalate, report_progress
from haikud.agent.haiku.tools.viewer import VIEW, view
from haikud.contracts.masking import active_masker, has_mark

BASH: Block = {"type": "bash_20250124", "name": "bash"}
EDITOR: Block = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}

_TALK = frozenset({REPORT_PROGRESS["name"], ESCALATE["name"]})
"""Tools that do nothing: to say the same thing again is no sign of a loop, and between two uses they do not count."""

_ROOM_FOR_NOTES = 1024
"""Bytes above the limit, for line numbers and for what a tool says about its result."""

ABOUT_MARKS = "[haikud masks secrets in what you see; files and commands have them as they are. Never write a mark.]"

_MOST_SHOWN = 200
_SHOWN = ("command", "path", "percent", "message", "reason")


class Toolbox:
    """The tools of one session: `role_tools` names bash, edit and view; reporting and asking are always there.

    `edit` is the whole editor, `view` the part of it that changes nothing. A tool that the role does not name is not
    offered, and a model that calls it all the same gets an error.
    """

    def __init__(self, role_tools: Collection[str], shell: Shell) -> None:
        self._shell = shell
        self._tools: dict[str, Callable[[Mapping[str, Any]], ToolOutcome]] = {}
        self._definitions: list[Block] = []
        self._at_end: Callable[[], None] = lambda: None
        if "bash" in role_tools:
            bash = BashTool(shell)
            self._at_end = bash.close
            self._add(BASH, bash.use)
        if "edit" in role_tools:
            self._add(EDITOR, EditorTool(shell.worktree, shell.limits.tool_output_bytes).use)
        elif "view" in role_tools:
            editor = EditorTool(shell.worktree, shell.limits.tool_output_bytes)
            self._add(VIEW, lambda given: view(editor, given))
        self._add(REPORT_PROGRESS, lambda given: report_progress(shell.events, given))
        self._add(ESCALATE, escalate)

    @property
    def definitions(self) -> list[Block]:
        """What a request says about tools."""
        return self._definitions

    def close(self) -> None:
        """The session is over: what only its conversation needed is removed."""
        self._at_end()

    def use(self, tool_use: Mapping[str, Any]) -> ToolOutcome:
        """Use one tool as the model asked."""
        name, given = str(tool_use["name"]), tool_use["input"]
        summary, digest = summary_of(tool_use), digest_of(tool_use)
        self._shell.events.tool(summary, None if name in _TALK else digest)
        self._log(summary)
        tool = self._tools.get(name, self._no_such_tool)
        try:
            outcome = tool(given)
        except BadInput as error:
            outcome = ToolOutcome(f"Error: {error}", is_error=True)
        text = _without_secrets(self._fit(outcome.text))
        if name not in _TALK:
            failure = find_failure(text, digest) if outcome.is_error else None
            tests = None
            if name == BASH["name"]:
                tests = judge_tests(
                    str(given.get("command", "")), self._shell.test_command, text, failed=outcome.is_error
                )
            self._shell.events.result(digest, failure, tests)
        if name != BASH["name"]:  # what the shell printed is in the log already
            self._log(text)
        return ToolOutcome(text, outcome.is_error, outcome.question, outcome.stopped)

    def _add(self, definition: Block, tool: Callable[[Mapping[str, Any]], ToolOutcome]) -> None:
        self._definitions.append(definition)
        self._tools[definition["name"]] = tool

    def _no_such_tool(self, _: Mapping[str, Any]) -> ToolOutcome:
        raise BadInput(f"there is no such tool; there are {', '.join(self._tools)}.")

    def _fit(self, text: str) -> str:
        """Cut in the middle where it is too long, and free of what UTF-8 cannot say (a file's name can hold it)."""
        data = text.encode("utf-8", "replace")
        most = self._shell.limits.tool_output_bytes
        if len(data) <= most + max(most // 4, _ROOM_FOR_NOTES):
            return data.decode()
        kept = HeadAndTail(most)
        kept.add(data)
        return kept.text()

    def _log(self, text: str) -> None:
        first, _, rest = text.partition("\n")
        more = f" [and {rest.count(chr(10)) + 1} more lines]" if rest else ""
        self._shell.log.agent(f"{first[:_MOST_SHOWN]}{more}\n".encode("utf-8", "replace"), "tool")


def _without_secrets(text: str) -> str:
    """What the model gets to see. A shell's output was masked on its way here; it is told of marks all the same."""
    text = active_masker().text(text)
    return f"{text}\n{ABOUT_MARKS}" if has_mark(text) and not text.endswith(ABOUT_MARKS) else text


def summary_of(tool_use: Mapping[str, Any]) -> str:
    """One line about a tool use, for people and monitors: the same use gives the same line, another one another.

    Where the line does not show the whole input, it ends in a short sum of it.
    """
    given = tool_use["input"]
    parts = [str(given[name]).strip() for name in _SHOWN if name in given]
    said = " ".join(parts)
    first = said.partition("\n")[0][:_MOST_SHOWN]
    if first == said and len(parts) == len(given):
        return f"{tool_use['name']}: {first}"
    return f"{tool_use['name']}: {first} [{digest_of(tool_use)[:6]}]"


def digest_of(tool_use: Mapping[str, Any]) -> str:
    """The same for the same tool with the same input."""
    return hashlib.sha256(json.dumps([tool_use["name"], tool_use["input"]], sort_keys=True).encode()).hexdigest()[:16]
