"""What the Messages API reports as used, read so that it can be priced. Pure.

One answer may have taken several passes of a model. The fields at the top count the answer's own; a pass that summed up
a long conversation (`compaction`), or one of an adviser (`advisor_message`, a model of its own), stands in `iterations`
alone and is billed beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_BESIDE = ("compaction", "advisor_message")
_ANSWERING = ("message", "fallback_message")
_MOST_TOKENS = 10**12  # so that no sum of dollars is infinite
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")

COUNTS = (*_INPUT, "output_tokens")
"""The counts of tokens in a usage."""


@dataclass(frozen=True)
class Pass:
    """One pass of a model: what a price applies to. `usage` has no nulls and its cache writes split by lifetime."""

    usage: Mapping[str, Any]
    model: str | None = None  # an adviser's own; None: the model that was asked

    @property
    def writes(self) -> Mapping[str, int]:
        """Cache writes by lifetime."""
        split: Mapping[str, int] = self.usage.get("cache_creation", {})
        return split

    @property
    def context_tokens(self) -> int:
        """Input of every class."""
        return sum(self.usage[name] for name in _INPUT)


def passes(usage: Mapping[str, Any]) -> list[Pass]:
    """All that one answer is billed for: its own passes as the API has summed them up, then those beside them."""
    return [
        Pass(whole_usage({name: value for name, value in usage.items() if name != "iterations"})),
        *(Pass(whole_usage(one), _model_of(one)) for one in _iterations(usage) if one.get("type") in _BESIDE),
    ]


def answering_context(usage: Mapping[str, Any]) -> int:
    """Tokens of input of the pass that gave the answer: how long the conversation is by now."""
    answering = [one for one in _iterations(usage) if one.get("type") in _ANSWERING]
    return Pass(whole_usage(answering[-1] if answering else usage)).context_tokens


def whole_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage without nulls, and with cache writes split by lifetime so that the parts add up to the whole.

    Writes that the API does not split count as the five-minute kind. Raises ValueError for a count that is none: who
    pays must not take it for nothing.
    """
    known = {name: value for name, value in usage.items() if value is not None}
    known |= {name: _tokens(known, name) for name in COUNTS}
    split = known.pop("cache_creation", {})
    if not isinstance(split, Mapping):
        msg = f"cache_creation is no object in the usage of an answer: {split!r:.60}"
        raise ValueError(msg)  # noqa: TRY004 -- of a value from outside
    one_hour, five_minutes = _tokens(split, "ephemeral_1h_input_tokens"), _tokens(split, "ephemeral_5m_input_tokens")
    written = max(known["cache_creation_input_tokens"], one_hour + five_minutes)
    if written:
        known["cache_creation_input_tokens"] = written
        known["cache_creation"] = {
            "ephemeral_5m_input_tokens": written - one_hour,
            "ephemeral_1h_input_tokens": one_hour,
        }
    return known


def readable_usage(usage: Mapping[str, Any]) -> dict[str, int]:
    """The counts of a usage that are counts, and nothing else of it."""
    found: dict[str, int] = {}
    for name in COUNTS:
        with suppress(ValueError):
            found[name] = _tokens(usage, name)
    return found


def _tokens(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        msg = f"{name} is no number of tokens in the usage of an answer"
        raise ValueError(msg)
    return value


def _iterations(usage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    listed = usage.get("iterations")
    yield from (one for one in listed if isinstance(one, Mapping)) if isinstance(listed, list) else ()


def _model_of(iteration: Mapping[str, Any]) -> str | None:
    model = iteration.get("model")
    return model if isinstance(model, str) and model else None
