"""A main agent's own tokens, as it reports them in `metadata.main_agent`, priced like any other agent's.

Promises: whatever stands there costs no plan and no answer: what cannot be used is told in a warning. Tokens are
priced here; the cost that a main agent states counts only where no price is known, and is marked so. Several reports
need not be several requests: each is priced as one, so a model whose price steps with the length may come out too dear.

Pricing may import genai-prices: not for an event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from haikud.contracts.base import JsonObject
from haikud.contracts.main_agent import MainAgentCost
from haikud.contracts.settings import Settings
from haikud.contracts.usage import UsageEntry
from haikud.costs.prices import PriceList, UnknownPrice

KEY = "main_agent"

_PLACE = f"metadata.{KEY}"
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_FIELDS = ("model", *_COUNTS, "cost_usd")
_MOST_TOKENS = 10**12
_MOST_USD = 1e6
_SHOWN = 60


def read_main_agent(metadata: JsonObject, settings: Settings, at: datetime) -> tuple[MainAgentCost | None, list[str]]:
    """What `metadata` says of the main agent's own use, and warnings; None where it says nothing of use."""
    stated = metadata.get(KEY)
    if stated is None:
        return None, []
    if not isinstance(stated, dict):
        return None, [f"{_PLACE} is {_shown(stated)}, not an object with model, input_tokens and output_tokens"]
    warnings: list[str] = []
    usage = {name: _count(stated, name, warnings) for name in _COUNTS}
    dollars = _dollars(stated, warnings)
    model = stated.get("model")
    if not isinstance(model, str) or not model.strip():
        warnings.append(f"{_PLACE}.model is {_shown(model)}, not the name of a model")
        model = ""
    model = model.strip()[:_SHOWN]
    strange = sorted(str(name)[:_SHOWN] for name in stated.keys() - set(_FIELDS))
    if strange:
        warnings.append(f"{_PLACE}: {', '.join(strange[:5])} is not used; known are {', '.join(_FIELDS)}")
    if not any(usage.values()) and dollars is None:
        return None, [*warnings, f"{_PLACE} states neither tokens nor a cost, and is left out"]
    return _priced(model, usage, dollars, settings, at, warnings), warnings


def _priced(
    model: str,
    usage: Mapping[str, int],
    dollars: float | None,
    settings: Settings,
    at: datetime,
    warnings: list[str],
) -> MainAgentCost:
    prices = PriceList.of(settings)
    at_sonnet = prices.price_message(prices.compared_with(), usage, at)
    entry = _entry(model, usage, prices, settings, at) if any(usage.values()) else None
    if entry is None and dollars is None:
        warnings.append(
            f"{_PLACE}: no price is known for the model {model or '(none)'!r}, so that its tokens are told without a "
            "cost; give its price in the settings (prices), or state cost_usd"
        )
    cost = entry.cost_usd if entry is not None else dollars
    told = any(usage.values())
    return MainAgentCost(
        model=model or "unknown",
        input_tokens=at_sonnet.context_tokens,
        output_tokens=at_sonnet.output_tokens,
        cost_usd=cost,
        sonnet_cost_usd=at_sonnet.cost_usd if told else (cost or 0.0),
        reported=entry is None and dollars is not None,
        price_version=entry.price_version if entry is not None else "",
    )


def _entry(
    model: str, usage: Mapping[str, int], prices: PriceList, settings: Settings, at: datetime
) -> UsageEntry | None:
    """Priced by the id that the name means, by the name itself, or by the id that it is short for: sonnet-4.5."""
    for name in (settings.models.get(model, model), f"claude-{model}"):
        if model:
            with suppress(UnknownPrice):
                return prices.price_message(name, usage, at)
    return None


def _count(stated: JsonObject, name: str, warnings: list[str]) -> int:
    value = stated.get(name)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        warnings.append(f"{_PLACE}.{name} is {_shown(value)}, not a number of tokens; it counts as 0")
        return 0
    return value


def _dollars(stated: JsonObject, warnings: list[str]) -> float | None:
    value = stated.get("cost_usd")
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MOST_USD:  # which no NaN is
        warnings.append(f"{_PLACE}.cost_usd is {_shown(value)}, not an amount in US dollars; it is left out")
        return None
    return float(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python likes to print
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
