"""What a request asks for, and what of it the gateway cannot let through.

Promises: what is forwarded is written anew from what was parsed, so that the API sees exactly what was checked: no
second `max_tokens` behind the first one, no number that two readers take for different ones. Whatever could make a
call dearer than its tokens tell (the API's own tools, other models, context that the API holds) is refused, and so is
every field that nobody here knows: what it costs cannot be bounded. Fails with Refused (400, 403).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from haikud.contracts.gateway import AttemptToken, Refusal
from haikud.gateway.refusals import Refused

MOST_BODY_BYTES = 32 * 1024 * 1024  # the API's own limit

_MOST_VALUES = 200_000
"""In a body: far more than any conversation has. A value may take thirty times its bytes once it is parsed."""

_UP_TO_VALUE = re.compile(rb'(?:[^"\[{,]++|"(?:[^"\\]++|\\.)*+")*+[\[{,]', re.DOTALL)

_MOST_OUTPUT = 2**31
_OVERHEAD_TOKENS = 2_000
"""What the API adds to a request: its own instructions for tools, the frame around each message."""

_TYPED_TOOL_TOKENS = 1_500
_TOOLSET_TOKENS = 12_000
_IMAGE_TOKENS = 6_000
"""More than an image of any size counts: its tokens depend on its pixels, not on its bytes."""

_FREE_FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "system",
        "tools",
        "tool_choice",
        "stream",
        "metadata",
        "thinking",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "output_config",
        "output_format",
        "context_management",
        "compaction",
        "service_tier",
        "cache_control",
        "diagnostics",
        "speed",
    }
)
"""The fields whose cost is known, some of them for certain values only."""

_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "browser_toolset_")
_COUNTED_FIELDS = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "cache_control",
    "output_config",
)

Body = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request that may be made, if there is money for it."""

    body: Body
    data: bytes  # what is forwarded
    model: str
    max_tokens: int
    stream: bool
    bound: int  # tokens of input: it cannot have more, where `must_count` is not set
    must_count: bool  # holds documents, of which only the API can say how long they are
    one_hour: bool
    passes: int  # how often the API may go through the context

    def within(self, max_tokens: int) -> Asked | None:
        """The same with another `max_tokens`; None where that leaves no room for the thinking it asks for."""
        if max_tokens == self.max_tokens:
            return self
        body = self.body | {"max_tokens": max_tokens}
        thinking = body.get("thinking")
        if isinstance(thinking, dict) and thinking.get("type") == "enabled":
            budget = thinking.get("budget_tokens")
            if isinstance(budget, int) and budget >= max_tokens:
                if max_tokens <= 1024:
                    return None
                body["thinking"] = thinking | {"budget_tokens": max_tokens - 1}
        return replace(self, body=body, data=write(body), max_tokens=max_tokens)

    def counting(self) -> bytes:
        """The body that asks how many tokens it has."""
        counted = {name: self.body[name] for name in _COUNTED_FIELDS if name in self.body}
        if "context_management" in self.body and self.passes == 1:
            counted["context_management"] = self.body["context_management"]  # what it clears is not paid for
        return write(counted)


def parse(data: bytes) -> Body:
    """The request's JSON object."""
    if _has_many_values(data):
        _bad(f"the request body holds more than {_MOST_VALUES:,} values")
    try:
        body = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except RecursionError:
        _bad("the request body is nested too deeply")
    except ValueError as error:
        _bad(f"the request body is not valid JSON: {error}")
    if not isinstance(body, dict):
        _bad("the request body is no JSON object")
    return body


def _has_many_values(data: bytes) -> bool:
    """Whether parsing it would take memory and time out of all proportion. Texts may hold what looks like JSON."""
    if data.count(b"{") + data.count(b"[") + data.count(b",") <= _MOST_VALUES:
        return False
    end = 0
    for _ in range(_MOST_VALUES):
        found = _UP_TO_VALUE.match(data, end)
        if found is None:
            return False
        end = found.end()
    return True


def write(body: Body) -> bytes:
    """The JSON to forward."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError:
        _bad("the request body is nested too deeply")
    except ValueError:
        _bad("the request body holds a number that is too large")


def check_call(body: Body, token: AttemptToken) -> Asked:
    """A call of the model."""
    model = check_model(body, token)
    most = body.get("max_tokens")
    if isinstance(most, bool) or not isinstance(most, int) or not 0 < most <= _MOST_OUTPUT:
        _bad("max_tokens: must be a whole number from 1 on")
    if not isinstance(body.get("messages"), list):
        _bad("messages: must be a list")
    if not isinstance(body.get("stream") or False, bool):
        _bad("stream: must be true or false")
    _check_fields(body)
    extra, must_count = _beside_bytes(body)
    data = write(body)
    return Asked(
        body=body,
        data=data,
        model=model,
        max_tokens=most,
        stream=bool(body.get("stream")),
        bound=len(data) + _OVERHEAD_TOKENS + extra,
        must_count=must_count,
        one_hour=b'"ttl":"1h"' in data,  # written so by `write`, and escaped in every text
        passes=2 if body.get("compaction") is not None or _compacts(body) else 1,
    )


def check_model(body: Body, token: AttemptToken) -> str:
    """The model that is asked for: one of the attempt's."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        _bad("model: must be the id of a model")
    if token.models and model not in token.models:
        raise Refused(
            403,
            f"model: this attempt may call {' or '.join(token.models)}, not {model[:200]}",
            Refusal.MODEL,
        )
    return model


def _check_fields(body: Body) -> None:
    for name, value in body.items():
        if value is None or (name == "mcp_servers" and value == []):
            continue
        if name not in _FREE_FIELDS:
            _costly(f"{name[:100]}: haikud cannot bound what this costs; leave it out")
    if body.get("speed") not in {None, "standard"}:
        _costly("speed: only standard; the fast mode has prices of its own")
    if body.get("service_tier") not in {None, "auto", "standard_only"}:
        _costly("service_tier: only auto or standard_only")
    for edit in _edits(body):
        kind = edit.get("type")
        if not isinstance(kind, str) or not kind.startswith(("clear_", "compact_")):
            _costly("context_management: only edits that clear or compact")
    for tool in _dicts(body.get("tools")):
        _check_tool(tool)


def _check_tool(tool: Body) -> None:
    kind = tool.get("type")
    if kind is not None and kind != "custom" and not (isinstance(kind, str) and kind.startswith(_CLIENT_TOOLS)):
        _costly(f"tools: {str(kind)[:100]} runs at the API, and what it costs cannot be bounded; leave it out")


def _edits(body: Body) -> list[Body]:
    management = body.get("context_management")
    if management is None:
        return []
    if not isinstance(management, dict):
        _bad("context_management: must be an object")
    return list(_dicts(management.get("edits")))


def _compacts(body: Body) -> bool:
    return any(str(edit.get("type")).startswith("compact_") for edit in _edits(body))


def _beside_bytes(body: Body) -> tuple[int, bool]:
    """Tokens that the bytes do not tell, and whether there are documents that only the API can count."""
    extra, must_count = 0, False
    for tool in _dicts(body.get("tools")):
        extra += _tokens_of_tool(tool)
    for block in _blocks(body):
        kind = block.get("type")
        if kind == "image":
            extra += _IMAGE_TOKENS
        elif kind == "document":
            must_count = _is_opaque(block.get("source")) or _is_cited(block) or must_count
        elif kind == "search_result":
            must_count = _is_cited(block) or must_count
        elif kind == "container_upload":
            _costly("messages: container_upload is for code that runs at the API; leave it out")
        elif kind == "tool_addition":
            extra += _tokens_of_added(block.get("tool"))
    return extra, must_count


def _tokens_of_tool(tool: Body) -> int:
    kind = tool.get("type")
    if kind in {None, "custom"}:
        return 0
    return _TOOLSET_TOKENS if "toolset" in str(kind) else _TYPED_TOOL_TOKENS


def _tokens_of_added(added: object) -> int:
    definition = added.get("definition") if isinstance(added, dict) else None
    if not isinstance(definition, dict):
        return 0
    _check_tool(definition)
    return _tokens_of_tool(definition)


def _is_opaque(source: object) -> bool:
    kind = source.get("type") if isinstance(source, dict) else None
    if kind in {"url", "file"}:
        _costly(f"messages: a document by {kind} may be of any length; send its content instead")
    return kind == "base64"


def _is_cited(block: Body) -> bool:
    """Whether the API cuts it up into numbered sentences, each of which may be a byte or two."""
    citations = block.get("citations")
    return isinstance(citations, dict) and bool(citations.get("enabled"))


def _blocks(body: Body) -> Iterator[Body]:
    """All content blocks, those inside tool results and documents included. A tool's input is no content.

    What the API's own tools have found may be a single block where others have a list.
    """
    waiting: list[object] = [body.get("system"), *(message.get("content") for message in _dicts(body["messages"]))]
    while waiting:
        content = waiting.pop()
        for block in _dicts([content] if isinstance(content, dict) else content):
            yield block
            waiting.append(block.get("content"))
            source = block.get("source")
            if isinstance(source, dict):
                waiting.append(source.get("content"))


def _dicts(value: object) -> Iterator[Body]:
    yield from (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _no_constant(word: str) -> NoReturn:
    msg = f"{word} is no JSON"
    raise ValueError(msg)


def _bad(message: str) -> NoReturn:
    raise Refused(400, message, Refusal.REQUEST)


def _costly(message: str) -> NoReturn:
    raise Refused(400, message, Refusal.FEATURE)
