"""What a model call costs, and how long an answer a budget allows.

A price list holds the settings' own prices, and has those of `genai-prices` for every other model, per request.

Promises: a cost equals genai-prices' own to the last digit (it is computed in Decimal and turned into a float once, at
the end); what it would have cost at Sonnet's prices is the same usage priced again. A model without a price raises
UnknownPrice: a call whose cost cannot be told is not made.

Prices depend on the length of the whole request, which is why everything here works on whole requests. genai-prices
takes a quarter of a second to import: it is imported when a model first needs it, or by `load`.

Priced is what the usage says: tokens by class and length, web searches, batches, the fast mode of the models that have
one, and the passes in `iterations` that the API bills beside the answer (`reported.py`). What nobody here can price: a
discount or a commitment of the account (`service_tier: priority` counts as standard), the surcharge of a region
(`inference_geo`), containers of the API's own code execution, and a server-side fallback to another model, which counts
at the price of the model that was asked. A price of the settings knows tokens only, and no step for long requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from haikud.contracts.settings import DEFAULT_MODELS, ModelPrice, Settings
from haikud.contracts.usage import UsageEntry
from haikud.costs.reported import Pass, answering_context, passes, whole_usage

PROVIDER = "anthropic"
BY_SETTINGS = "settings"
"""The price version of a price that the settings give."""

_MILLION = 1_000_000
_SNAPSHOT_DIGITS = 8  # of the date that names a snapshot of a model: claude-haiku-4-5-20251001
_LEAST_USAGE = {"input_tokens": 1, "output_tokens": 1}


class UnknownPrice(LookupError):  # noqa: N818 -- the name says what is the case
    """Neither the settings nor genai-prices know a price for this model; the message says the cure."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            f"no price is known for the model {model!r}: give it in the settings, in USD per million tokens "
            f"(prices: {{{model}: {{input: .., output: ..}}}}), or update genai-prices ({version} is here)"
        )
        self.model = model


class PriceList:
    """The prices that hold in one process.

    `own` are the settings' prices by model id; one for an id holds for its dated snapshots too. `sonnet_model` is what
    every request is compared with; where it has no known price, the default Sonnet is.
    """

    def __init__(
        self, own: Mapping[str, ModelPrice] | None = None, sonnet_model: str = DEFAULT_MODELS["sonnet"]
    ) -> None:
        self._own = dict(own or {})
        self._sonnet = sonnet_model
        self._compared_with: str | None = None  # once it is known to have a price

    @classmethod
    def of(cls, settings: Settings) -> PriceList:
        """The prices that the settings ask for."""
        return cls(settings.prices_by_id, settings.sonnet_model)

    def load(self, *models: str) -> None:
        """Import now what pricing these models will need, so that no later call has to wait for it."""
        for model in (*models, self._sonnet):
            with suppress(UnknownPrice):
                self.require_price(model)

    def price_message(
        self,
        model: str,
        usage: Mapping[str, Any],
        at: datetime,
        request_id: str | None = None,
        *,
        estimated: bool = False,
    ) -> UsageEntry:
        """The usage entry of one call: `usage` as the Messages API reports it.

        Cache writes that the API does not split by lifetime count as the five-minute kind. Tokens are those of every
        pass that is billed. Raises UnknownPrice, and ValueError for a usage whose counts are none.
        """
        billed = passes(usage)
        sonnet = self.compared_with()
        cost, version = Decimal(0), ""
        for number, one in enumerate(billed):
            paid, by = self._cost_of_pass(one, model, at)
            cost, version = cost + paid, version if number else by
        return UsageEntry(
            at=at,
            model=model,
            request_id=request_id,
            input_tokens=_sum(billed, "input_tokens"),
            output_tokens=_sum(billed, "output_tokens"),
            cache_read_tokens=_sum(billed, "cache_read_input_tokens"),
            cache_write_5m_tokens=sum(one.writes.get("ephemeral_5m_input_tokens", 0) for one in billed),
            cache_write_1h_tokens=sum(one.writes.get("ephemeral_1h_input_tokens", 0) for one in billed),
            beside_input_tokens=max(0, sum(one.context_tokens for one in billed) - answering_context(usage)),
            cost_usd=float(cost),
            sonnet_cost_usd=float(sum((self._cost(sonnet, one.usage, at)[0] for one in billed), Decimal(0))),
            price_version=version,
            estimated=estimated,
        )

    def worst_case_cost(
        self,
        model: str,
        context_tokens: int,
        max_output: int,
        at: datetime | None = None,
        *,
        one_hour: bool = False,
    ) -> float:
        """The most that a call can cost in US dollars: all of its context at the dearest class, all of its output used.

        The dearest class is a write to the cache, for an hour where the request asks for that (`one_hour`). More
        context never costs less. Not in it: passes beside the answer, and what the API's own tools do.
        """
        return float(self._worst_case(model, context_tokens, max_output, at, one_hour=one_hour))

    def worst_case_entry(
        self,
        model: str,
        context_tokens: int,
        max_output: int,
        at: datetime,
        *,
        cost_usd: float,
        one_hour: bool = False,
    ) -> UsageEntry:
        """What a call is noted as that may cost `cost_usd`, its worst case as it was computed, at the most."""
        own = self._own_price(model)
        return UsageEntry(
            at=at,
            model=model,
            output_tokens=max_output,
            cache_write_5m_tokens=0 if one_hour else context_tokens,
            cache_write_1h_tokens=context_tokens if one_hour else 0,
            cost_usd=cost_usd,
            sonnet_cost_usd=self.worst_case_cost(
                self.compared_with(), context_tokens, max_output, at, one_hour=one_hour
            ),
            price_version=BY_SETTINGS if own is not None else _version(),
            estimated=True,
        )

    def max_tokens_within(
        self,
        model: str,
        context_tokens: int,
        budget_usd: float,
        ceiling: int,
        at: datetime | None = None,
        *,
        one_hour: bool = False,
    ) -> int:
        """The largest `max_tokens`, at most `ceiling`, whose worst case is within `budget_usd`; 0 where none is."""
        budget = Decimal(repr(budget_usd))
        context_cost = self._worst_case(model, context_tokens, 0, at, one_hour=one_hour)
        if context_cost > budget:
            return 0
        price_of_million = self._worst_case(model, context_tokens, _MILLION, at, one_hour=one_hour) - context_cost
        if price_of_million <= 0:
            return ceiling
        affordable = ((budget - context_cost) * _MILLION / price_of_million).to_integral_value(ROUND_FLOOR)
        return max(0, min(ceiling, int(affordable)))

    def require_price(self, model: str, at: datetime | None = None) -> None:
        """Raise UnknownPrice where calls to this model could not be priced."""
        self._cost(model, _LEAST_USAGE, at)

    def compared_with(self) -> str:
        """The model at whose prices `sonnet_cost_usd` is told."""
        if self._compared_with is None:
            try:
                self.require_price(self._sonnet)
            except UnknownPrice:
                self._compared_with = DEFAULT_MODELS["sonnet"]
            else:
                self._compared_with = self._sonnet
        return self._compared_with

    def _worst_case(
        self, model: str, context_tokens: int, max_output: int, at: datetime | None, *, one_hour: bool
    ) -> Decimal:
        own = self._own_price(model)
        if own is not None:
            classes = [own.input_decimal, own.write_5m_decimal, own.read_decimal]
            dearest = max([*classes, own.write_1h_decimal] if one_hour else classes)
            return (dearest * context_tokens + own.output_decimal * max_output) / _MILLION
        written = {"ephemeral_1h_input_tokens": context_tokens} if one_hour else {}
        most = {"cache_creation_input_tokens": context_tokens, "output_tokens": max_output, "cache_creation": written}
        return self._cost(model, whole_usage(most), at)[0]

    def _cost_of_pass(self, one: Pass, asked: str, at: datetime | None) -> tuple[Decimal, str]:
        """A pass that was made is paid: an adviser without a known price counts as the model that was asked."""
        if one.model is not None and one.model != asked:
            with suppress(UnknownPrice):
                return self._cost(one.model, one.usage, at)
        return self._cost(asked, one.usage, at)

    def _cost(self, model: str, usage: Mapping[str, Any], at: datetime | None) -> tuple[Decimal, str]:
        """Dollars, and by which price list."""
        own = self._own_price(model)
        return _cost_by_genai_prices(model, usage, at) if own is None else (_cost_by_own(own, usage), BY_SETTINGS)

    def _own_price(self, model: str) -> ModelPrice | None:
        own = self._own.get(model)
        if own is None and self._own:
            name, _, date = model.rpartition("-")
            own = self._own.get(name) if len(date) == _SNAPSHOT_DIGITS and date.isdecimal() else None
        return own


def _cost_by_own(price: ModelPrice, usage: Mapping[str, Any]) -> Decimal:
    split = usage.get("cache_creation", {})
    millionths: Decimal = (
        price.input_decimal * usage.get("input_tokens", 0)
        + price.output_decimal * usage.get("output_tokens", 0)
        + price.read_decimal * usage.get("cache_read_input_tokens", 0)
        + price.write_5m_decimal * split.get("ephemeral_5m_input_tokens", 0)
        + price.write_1h_decimal * split.get("ephemeral_1h_input_tokens", 0)
    )
    return millionths / _MILLION


def _cost_by_genai_prices(model: str, usage: Mapping[str, Any], at: datetime | None) -> tuple[Decimal, str]:
    import genai_prices

    version = _version()
    context = {name: word for name, word in (("speed", usage.get("speed")),) if isinstance(word, str)}
    if usage.get("service_tier") == "batch":
        context["processing"] = "batch"
    try:
        extracted = genai_prices.extract_usage({"model": model, "usage": dict(usage)}, provider_id=PROVIDER)
        priced = extracted.calc_price(genai_request_timestamp=at, price_context=context or None)
    except LookupError as error:
        raise UnknownPrice(model, version) from error
    return priced.total_price, version


def _version() -> str:
    import genai_prices  # here: a quarter of a second, which own prices need not cost

    return f"genai-prices {genai_prices.__version__}"


def _sum(billed: list[Pass], name: str) -> int:
    return sum(int(one.usage.get(name, 0)) for one in billed)
