"""Scenarios: what the scripted model says, read from YAML.

A scenario is a list of conversations; the first one that matches a request answers it. A conversation is a list of
turns. Unknown keys, unknown placeholders, labels that lead nowhere and broken regular expressions are errors when the
file is loaded (`ScenarioError`, one line for each fault), never surprises while it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

BUILTIN = Path(__file__).parent / "builtin"
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")

StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"
]

_LINE = r"(?im)^[ \t>*_#-]*(?:(?:your|the|absolute)[ \t]+)*"  # where a line about something begins
_NO_REMARK = r"(?:(?!\.[ \t]|,[ \t]|;|[ \t]\(|[ \t]on[ \t])[^\n`\"'])*"  # a path with spaces, but no sentence after it

DEFAULT_FINDS: dict[str, list[str]] = {
    "worktree": [
        r"(?m)^You work in (/[^\n]*?)(?:, on branch [^\n]*)?\.?$",  # the built-in agent's first line
        r"(?im)\bworktree(?:_path)?\b[^\n/]*?[`\"'](/[^\n`\"']+)[`\"']",
        _LINE + r"worktree(?: path| folder)?[*_ \t]*[:=][*_ \t]*(/" + _NO_REMARK + r"[^\s.,;`\"'])",
        r"(?im)\bworktree(?:_path)?\b[^\n/]*?(/[^\s`\"'<>,;()]*[^\s`\"'<>,;().])",
        r"(?im)\bworking directory\b[^\n/]*?(/[^\s`\"'<>,;()]*[^\s`\"'<>,;().])",
    ],
    "title": [
        _LINE + r"(?:title|task)[*_]*[ \t]*[:=][*_ \t]*[`\"']?([^\n`\"']*[^\s`\"'*_])",
        r"\"title\"\s*:\s*\"((?:[^\"\\]|\\.)*)\"",
        r"(?m)^#+[ \t]+([^\n]*\S)",
    ],
}
"""Where `{{worktree}}` and `{{title}}` are looked for in the first message: the first pattern that matches counts."""


class ScenarioError(Exception):
    """A scenario that cannot be used; the message names the file and each fault."""


class Part(BaseModel):
    """What all parts of a scenario share: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _checked_pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
    return value


class FaultBase(Part):
    """When a fault strikes: `times` times (null: always), then the script goes on as if nothing had been."""

    times: int | None = Field(1, ge=1)
    per: Literal["conversation", "server"] = "conversation"  # whose count: one dialogue's, or all requests' together
    delay_seconds: float = Field(0.0, ge=0)  # silence before the first byte


class StatusFault(FaultBase):
    """An HTTP error instead of an answer. Type and message default to what the API says for the status."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    type: str | None = None
    message: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    retry_after: float | None = Field(None, ge=0)  # seconds


class DelayFault(FaultBase):
    """Nothing but `delay_seconds` before a good answer."""

    kind: Literal["delay"]


class StreamFault(FaultBase):
    """A fault inside the stream, after `after_events` events (pings count)."""

    after_events: int = Field(3, ge=0)


class CutFault(StreamFault):
    """The connection is aborted; with `after_events: 0` before any byte of the answer."""

    kind: Literal["cut"]


class StallFault(StreamFault):
    """Silence for `seconds`, then the rest."""

    kind: Literal["stall"]
    seconds: float = Field(gt=0)


class TruncateFault(StreamFault):
    """A clean end without message_delta and message_stop, before them at the latest."""

    kind: Literal["truncate"]


class CorruptFault(StreamFault):
    """One event whose JSON breaks off, then the rest."""

    kind: Literal["corrupt"]


class ErrorEventFault(StreamFault):
    """An `error` event inside the stream, which ends it."""

    kind: Literal["error_event"]
    type: str = "overloaded_error"
    message: str = "Overloaded"


Fault = Annotated[
    StatusFault | DelayFault | CutFault | StallFault | TruncateFault | CorruptFault | ErrorEventFault,
    Field(discriminator="kind"),
]


class ToolCall(Part):
    """One tool call. Strings in `input` may hold placeholders."""

    name: str = Field(min_length=1)
    input: dict[str, Any] = Field(default_factory=dict)


class Say(Part):
    """An answer: thinking, then text, then tool calls. `stop_reason` follows from the tools unless it is given."""

    thinking: str | None = None
    text: str | None = None
    tools: list[ToolCall] = Field(default_factory=list)
    stop_reason: StopReason | None = None
    next: str | None = None  # the label of the turn after this one; default: the next in the list

    @property
    def says_something(self) -> bool:
        """Whether there is any content, or a stop reason that needs none."""
        return bool(self.thinking or self.text or self.tools or self.stop_reason)


class Branch(Say):
    """An answer for the case that the last user message (tool results and text) matches `when`."""

    when: str

    _pattern = field_validator("when")(_checked_pattern)


class Turn(Say):
    """One answer of the model: the first matching branch, else its own."""

    label: str | None = None
    branches: list[Branch] = Field(default_factory=list)
    fault: Fault | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.says_something and not self.branches:
            raise ValueError("a turn needs text, tools, thinking, a stop_reason or branches")
        return self


class Match(Part):
    """Which requests a conversation answers. All given patterns must be found; none given: every request."""

    model: str | None = None
    system: str | None = None
    first_message: str | None = None  # its named groups are placeholders

    _patterns = field_validator("model", "system", "first_message")(_checked_pattern)


class Conversation(Part):
    """A dialogue. Which turn is served follows from the request's own history, so a resumed one goes on."""

    name: str = ""
    match: Match = Field(default_factory=lambda: Match.model_validate({}))
    find: dict[str, str] = Field(default_factory=dict)  # placeholder -> pattern over the first message, one group
    turns: list[Turn] = Field(min_length=1)

    @field_validator("find")
    @classmethod
    def _find_patterns(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            _checked_pattern(pattern)
            if re.compile(pattern).groups < 1:
                raise ValueError(f"{name}: the pattern needs a group that holds the value")
        return value

    @model_validator(mode="after")
    def _labels_and_placeholders(self) -> Self:
        labels = [turn.label for turn in self.turns if turn.label is not None]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"labels given twice: {', '.join(sorted(twice))}")
        groups = re.compile(self.match.first_message or "").groupindex
        known = {*DEFAULT_FINDS, *self.find, *groups}
        for number, turn in enumerate(self.turns, 1):
            for say in (turn, *turn.branches):
                if say.next is not None and say.next not in labels:
                    raise ValueError(f"turn {number}: next: no turn has the label {say.next!r}")
                for name in placeholders_in([say.text, say.thinking, [call.input for call in say.tools]]):
                    if name not in known:
                        raise ValueError(
                            f"turn {number}: unknown placeholder {{{{{name}}}}}; known: {', '.join(sorted(known))}"
                        )
        return self

    def position_of(self, label: str) -> int:
        """Index of the turn with that label."""
        return next(index for index, turn in enumerate(self.turns) if turn.label == label)


class Scenario(Part):
    """A whole script."""

    name: str
    about: str = ""
    models: list[str] | None = None  # where given, any other model is answered with 404
    conversations: list[Conversation] = Field(min_length=1)


def placeholders_in(value: object) -> Iterator[str]:
    """Names of the placeholders in every string of a nested value."""
    if isinstance(value, str):
        yield from PLACEHOLDER.findall(value)
    elif isinstance(value, list):
        for part in value:
            yield from placeholders_in(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from placeholders_in(part)


def builtin_names() -> list[str]:
    """The scenarios that come with the package."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def parse_scenario(document: object, source: str = "scenario") -> Scenario:
    """A scenario from a parsed document; ScenarioError with one line for each fault."""
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        lines = [f"{source}: this is not a usable scenario"]
        for fault in error.errors(include_url=False):
            where = ".".join(str(part) for part in fault["loc"]) or "the whole document"
            what = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"]
            lines.append(f"  {where}: {what}")
        raise ScenarioError("\n".join(lines)) from error


def load_scenario(name: str | Path) -> Scenario:
    """The scenario in a YAML file, or a built-in one by its bare name; ScenarioError says what is wrong with it."""
    path = Path(name)
    if not path.suffix and not path.exists():
        path = BUILTIN / f"{name}.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ScenarioError(
            f"{name}: no such file, and no built-in scenario of that name ({', '.join(builtin_names())})"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error
    return parse_scenario(document, str(path))
