"""Tokens and dollars: one entry per model call, and their sums."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from haikud.contracts.base import Model, Timestamp


def add_dollars(*amounts: float) -> float:
    """The sum without the noise of binary fractions: of 0.1 and 0.2 it is 0.3."""
    return float(sum((Decimal(repr(amount)) for amount in amounts), Decimal(0)))


class UsageEntry(Model):
    """One model call. Token classes are disjoint; `input_tokens` excludes cache reads and writes, as the API says."""

    at: Timestamp
    model: str
    request_id: str | None = None
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    cache_read_tokens: int = Field(0, ge=0)
    cache_write_5m_tokens: int = Field(0, ge=0)
    cache_write_1h_tokens: int = Field(0, ge=0)
    beside_input_tokens: int = Field(0, ge=0)  # of all input, that of passes beside the answer, such as a compaction
    cost_usd: float = Field(0.0, ge=0)
    sonnet_cost_usd: float = Field(0.0, ge=0)  # the same request at Sonnet's prices
    price_version: str = ""  # of the price list
    estimated: bool = False  # the stream was cut: charged for what was seen

    @property
    def tokens_used(self) -> int:
        """Input of every class plus output."""
        return self.context_tokens + self.beside_input_tokens + self.output_tokens

    @property
    def context_tokens(self) -> int:
        """Input of every class: how long the context of this call was, without passes beside the answer."""
        everything = (
            self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens
        )
        return everything - self.beside_input_tokens


class UsageTotal(Model):
    """The sum of usage entries. Dollars are added as decimals: a sum is as exact as its parts, whatever their order."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    tokens_used: int = 0
    cost_usd: float = 0.0
    sonnet_cost_usd: float = 0.0

    def plus(self, other: UsageTotal) -> UsageTotal:
        """The sum of two totals."""
        return UsageTotal(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            tokens_used=self.tokens_used + other.tokens_used,
            cost_usd=add_dollars(self.cost_usd, other.cost_usd),
            sonnet_cost_usd=add_dollars(self.sonnet_cost_usd, other.sonnet_cost_usd),
        )

    def plus_entry(self, entry: UsageEntry) -> UsageTotal:
        """This total and one more call."""
        return UsageTotal(
            requests=self.requests + 1,
            input_tokens=self.input_tokens + entry.input_tokens,
            output_tokens=self.output_tokens + entry.output_tokens,
            cache_read_tokens=self.cache_read_tokens + entry.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + entry.cache_write_5m_tokens + entry.cache_write_1h_tokens,
            tokens_used=self.tokens_used + entry.tokens_used,
            cost_usd=add_dollars(self.cost_usd, entry.cost_usd),
            sonnet_cost_usd=add_dollars(self.sonnet_cost_usd, entry.sonnet_cost_usd),
        )
