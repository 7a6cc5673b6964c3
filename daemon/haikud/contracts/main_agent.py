"""What a main agent says that planning, review or an answer has cost itself: `metadata.main_agent`."""

from __future__ import annotations

from pydantic import Field

from haikud.contracts.base import Model


class MainAgentCost(Model):
    """A main agent's own use, priced when its request or answer was taken. It is on no budget of haikud's."""

    model: str  # as it was given: a name of the settings' `models`, or an id
    input_tokens: int = Field(0, ge=0)  # of every class
    output_tokens: int = Field(0, ge=0)
    cost_usd: float | None = Field(None, ge=0)  # None: no price is known, and none was given
    sonnet_cost_usd: float = Field(0.0, ge=0)  # the same tokens at Sonnet's prices
    reported: bool = False  # `cost_usd` is what the main agent said, not what haikud counted
    price_version: str = ""
