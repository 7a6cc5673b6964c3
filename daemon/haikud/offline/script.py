"""From a request to the turn that answers it: pure, and a function of the request's own history alone.

The history is replayed: every assistant message in it is one turn that was served, and what the user said before it
tells which branch was taken. So a dialogue that is resumed by another process, or after a crash, goes on at its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from haikud.offline.answer import Piece
from haikud.offline.refusals import Refused
from haikud.offline.scenario import DEFAULT_FINDS, PLACEHOLDER, Conversation, Fault, Say, Scenario
from haikud.offline.tokens import content_blocks

MARK = "[scripted] "
"""Every text of the scripted model starts with this, so that nobody takes it for a model's."""


@dataclass(frozen=True)
class Line:
    """What the script has for one request."""

    conversation: str
    turn: int  # counted from 1
    say: Say
    fault: Fault | None
    dialogue: str  # the same for all requests of one dialogue: the key of its fault counters
    values: dict[str, str]  # of the placeholders

    def pieces(self, salt: str) -> tuple[Piece, ...]:
        """The content, placeholders filled in. Ids of tool calls follow from `salt`."""
        pieces = []
        if self.say.thinking:
            pieces.append(Piece("thinking", str(self._fill(self.say.thinking))))
        if self.say.text:
            text = str(self._fill(self.say.text)).strip()
            pieces.append(Piece("text", text if text.startswith(MARK) else MARK + text))
        for number, call in enumerate(self.say.tools):
            key = hashlib.sha256(f"{salt}/{number}".encode()).hexdigest()[:24]
            body = json.dumps(self._fill(call.input), ensure_ascii=False)
            pieces.append(Piece("tool_use", body, id=f"toolu_{key}", name=call.name))
        return tuple(pieces)

    @property
    def stop_reason(self) -> str:
        """The scenario's own, else what the content implies."""
        return self.say.stop_reason or ("tool_use" if self.say.tools else "end_turn")

    def _fill(self, value: object) -> object:
        if isinstance(value, str):
            return PLACEHOLDER.sub(lambda match: self._value(match[1]), value)
        if isinstance(value, list):
            return [self._fill(part) for part in value]
        if isinstance(value, dict):
            return {key: self._fill(part) for key, part in value.items()}
        return value

    def _value(self, name: str) -> str:
        if name not in self.values:
            raise Refused(400, f"scenario: {self.conversation}: the first message holds nothing for {{{{{name}}}}}")
        return self.values[name]


def text_of(content: object) -> str:
    """All text of a message or system prompt, tool results included."""
    parts = []
    for block in content_blocks(content):
        if block.get("type") == "text":
            parts.append(str(block.get("text", "")))
        elif block.get("type") == "tool_result":
            parts.append(text_of(block.get("content")))
    return "\n".join(parts)


def find_line(scenario: Scenario, body: dict[str, Any]) -> Line:
    """The turn that answers this request; Refused says why there is none."""
    model = str(body["model"])
    if scenario.models is not None and model not in scenario.models:
        raise Refused(404, f"model: {model}")
    messages: list[dict[str, Any]] = body["messages"]
    first = text_of(messages[0].get("content"))
    for number, conversation in enumerate(scenario.conversations, 1):
        if (values := _matched(conversation, model, text_of(body.get("system")), first)) is None:
            continue
        name = conversation.name or f"conversation {number}"
        position, say = _replay(conversation, name, messages)
        key = hashlib.sha256(f"{number}\0{model}\0{first}".encode()).hexdigest()
        return Line(name, position + 1, say, conversation.turns[position].fault, key, values)
    raise Refused(400, f"scenario {scenario.name}: no conversation matches this request (model {model})")


def _matched(conversation: Conversation, model: str, system: str, first: str) -> dict[str, str] | None:
    """The placeholders' values if the conversation answers such a request, else None."""
    match, values = conversation.match, {}
    for pattern, text in ((match.model, model), (match.system, system)):
        if pattern is not None and not re.search(pattern, text):
            return None
    for name, patterns in DEFAULT_FINDS.items():
        if found := next((hit for pattern in patterns if (hit := re.search(pattern, first))), None):
            values[name] = found[1].strip()
    for name, pattern in conversation.find.items():
        if own := re.search(pattern, first):
            values[name] = own[1]
        else:
            values.pop(name, None)  # a scenario's own pattern takes the place of the default one
    if match.first_message is not None:
        hit = re.search(match.first_message, first)
        if hit is None:
            return None
        values |= {name: value for name, value in hit.groupdict().items() if value is not None}
    return values


def _replay(conversation: Conversation, name: str, messages: list[dict[str, Any]]) -> tuple[int, Say]:
    """Index of the turn that is due, and which of its answers."""
    position = 0
    said = ""
    for message in messages:
        if message["role"] != "assistant":
            said = f"{said}\n{text_of(message.get('content'))}" if said else text_of(message.get("content"))
            continue
        say = _say_at(conversation, name, position, said)
        position = conversation.position_of(say.next) if say.next is not None else position + 1
        said = ""
    return position, _say_at(conversation, name, position, said)


def _say_at(conversation: Conversation, name: str, position: int, said: str) -> Say:
    if position >= len(conversation.turns):
        raise Refused(400, f"scenario: {name} is over: it has {len(conversation.turns)} turns")
    turn = conversation.turns[position]
    for branch in turn.branches:
        if re.search(branch.when, said):
            return branch
    if not turn.says_something:
        raise Refused(400, f"scenario: {name}, turn {position + 1}: no branch matches: {said[:400]!r}")
    return turn
