"""What a model call costs, and how long an answer a budget allows. Prices come from `genai-prices`, per request.

Promises: a cost equals genai-prices' own to the last digit (it is computed in Decimal and turned into a float once, at
the end); what it would have cost at Sonnet's prices is the same usage priced again. A model without a price raises
UnknownPrice: a call whose cost cannot be told is not made.

Prices depend on the length of the whole request, which is why everything here works on whole requests. Importing this
takes a quarter of a second; `comparison.py` does without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import genai_prices

from haikud.contracts.usage import UsageEntry

PROVIDER = "anthropic"
PRICE_VERSION = f"genai-prices {genai_prices.__version__}"
DEFAULT_SONNET = "claude-sonnet-5-5"


class UnknownPrice(LookupError):  # noqa: N818 -- the name says what is the case
    """genai-prices knows no price for this model."""

    def __init__(self, model: str) -> None:
        super().__init__(f"no price is known for the model {model!r} in {PRICE_VERSION}")
        self.model = model


def price_message(
    model: str,
    usage: Mapping[str, Any],
    at: datetime,
    request_id: str | None = None,
    *,
    sonnet_model: str = DEFAULT_SONNET,
    estimated: bool = False,
) -> UsageEntry:
    """The usage entry of one call: `usage` as the Messages API reports it. Raises UnknownPrice.

    Cache writes that the API does not split by lifetime count as the five-minute kind.
    """
    known = _whole_usage(usage)
    split = known.get("cache_creation", {})
    return UsageEntry(
        at=at,
        model=model,
        request_id=request_id,
        input_tokens=known.get("input_tokens", 0),
        output_tokens=known.get("output_tokens", 0),
        cache_read_tokens=known.get("cache_read_input_tokens", 0),
        cache_write_5m_tokens=split.get("ephemeral_5m_input_tokens", 0),
        cache_write_1h_tokens=split.get("ephemeral_1h_input_tokens", 0),
        cost_usd=float(_cost(model, known, at)),
        sonnet_cost_usd=float(_cost(sonnet_model, known, at)),
        price_version=PRICE_VERSION,
        estimated=estimated,
    )


def worst_case_cost(model: str, context_tokens: int, max_output: int, at: datetime | None = None) -> float:
    """The most that a call can cost in US dollars: all of its context written to the cache, all of its output used."""
    return float(_worst_case(model, context_tokens, max_output, at))


def max_tokens_within(
    model: str, context_tokens: int, budget_usd: float, ceiling: int, at: datetime | None = None
) -> int:
    """The largest `max_tokens`, at most `ceiling`, whose worst case stays within `budget_usd`; 0 where none does."""
    budget = Decimal(repr(budget_usd))
    context_cost = _worst_case(model, context_tokens, 0, at)
    if context_cost > budget:
        return 0
    million = 1_000_000
    price_of_million = _worst_case(model, context_tokens, million, at) - context_cost
    if price_of_million <= 0:
        return ceiling
    affordable = ((budget - context_cost) * million / price_of_million).to_integral_value(ROUND_FLOOR)
    return max(0, min(ceiling, int(affordable)))


def require_price(model: str, at: datetime | None = None) -> None:
    """Raise UnknownPrice where calls to this model could not be priced."""
    _cost(model, {"input_tokens": 1, "output_tokens": 1}, at)


def _worst_case(model: str, context_tokens: int, max_output: int, at: datetime | None) -> Decimal:
    usage = _whole_usage({"cache_creation_input_tokens": context_tokens, "output_tokens": max_output})
    return _cost(model, usage, at)


def _cost(model: str, usage: Mapping[str, Any], at: datetime | None) -> Decimal:
    try:
        extracted = genai_prices.extract_usage({"model": model, "usage": dict(usage)}, provider_id=PROVIDER)
        return extracted.calc_price(genai_request_timestamp=at).total_price
    except LookupError as error:
        raise UnknownPrice(model) from error


def _whole_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage without nulls, and with cache writes split by lifetime so that the parts add up to the whole."""
    known = {name: value for name, value in usage.items() if value is not None}
    known.setdefault("input_tokens", 0)
    known.setdefault("output_tokens", 0)
    reported = known.pop("cache_creation", {})
    one_hour = int(reported.get("ephemeral_1h_input_tokens") or 0)
    five_minutes = int(reported.get("ephemeral_5m_input_tokens") or 0)
    written = max(int(known.get("cache_creation_input_tokens", 0)), one_hour + five_minutes)
    if written:
        known["cache_creation_input_tokens"] = written
        known["cache_creation"] = {
            "ephemeral_5m_input_tokens": written - one_hour,
            "ephemeral_1h_input_tokens": one_hour,
        }
    return known
