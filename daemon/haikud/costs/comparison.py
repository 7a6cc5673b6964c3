"""The guide's `agent_costs` block: what each agent cost, the total, and the same requests at Sonnet's prices.

Pure and quick to import: usage totals carry what Sonnet would have cost, so nothing is priced here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from haikud.contracts.base import JsonObject
from haikud.contracts.main_agent import MainAgentCost
from haikud.contracts.usage import UsageTotal
from haikud.costs.families import FAMILIES


@dataclass(frozen=True)
class AgentCost:
    """What one agent used on one task, over all attempts."""

    model: str
    task: str
    usage: UsageTotal
    is_main: bool = False  # the main agent itself, where its usage is known
    is_reported: bool = False  # its dollars are what it said itself
    is_unpriced: bool = False  # nobody knows a price for its tokens


def cost_of_main_agent(main: MainAgentCost) -> AgentCost:
    """A main agent's own use. Without a price it counts on neither side of the comparison."""
    is_unpriced = main.cost_usd is None
    usage = UsageTotal(
        requests=1,
        input_tokens=main.input_tokens,
        output_tokens=main.output_tokens,
        tokens_used=main.input_tokens + main.output_tokens,
        cost_usd=main.cost_usd or 0.0,
        sonnet_cost_usd=0.0 if is_unpriced else main.sonnet_cost_usd,
    )
    return AgentCost(main.model, "", usage, is_main=True, is_reported=main.reported, is_unpriced=is_unpriced)


def agent_costs(agents: Iterable[AgentCost]) -> JsonObject:
    """The guide's block. `input_tokens` are those of every class, so that they and the output make `tokens_used`.

    Agents are numbered in the order given, per family: haiku_agent_1, haiku_agent_2, sonnet_agent_1. All that a main
    agent used itself (planning, answers) is one entry, the first. The savings are negative where the agents were dearer
    than Sonnet.
    """
    everyone = list(agents)
    mains = [agent for agent in everyone if agent.is_main]
    block: JsonObject = {"main_agent": _main_entry(mains)} if mains else {}
    numbers: dict[str, int] = {}
    total = UsageTotal()
    for agent in everyone:
        total = total.plus(agent.usage)
        if not agent.is_main:
            block[_name(agent, numbers)] = {"model": agent.model, "task": agent.task, **_used(agent.usage)}
    savings = total.sonnet_cost_usd - total.cost_usd
    block["total_cost"] = _dollars(total.cost_usd)
    block["comparison"] = {
        "if_all_sonnet": _dollars(total.sonnet_cost_usd),
        "savings_usd": _dollars(savings),
        "savings_percent": _percent(savings, total.sonnet_cost_usd),
    }
    return block


def time_saved(task_seconds: Sequence[float], elapsed_seconds: float) -> JsonObject:
    """What running in parallel saved, in seconds: the guide's "sequential, parallel, time saved".

    Sequential is the sum of the tasks' own durations. Nothing is saved where the queue made them wait longer than that.
    """
    sequential = sum(task_seconds)
    saved = max(0.0, sequential - elapsed_seconds)
    return {
        "sequential_seconds": round(sequential, 1),
        "parallel_seconds": round(elapsed_seconds, 1),
        "time_saved_seconds": round(saved, 1),
        "time_saved_percent": _percent(saved, sequential),
    }


def _used(usage: UsageTotal) -> JsonObject:
    return {
        "input_tokens": usage.tokens_used - usage.output_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": _dollars(usage.cost_usd),
    }


def _main_entry(mains: Sequence[AgentCost]) -> JsonObject:
    """The sum; its cost is null where no part has one, and `unpriced_tokens` says how much of it has none."""
    total = UsageTotal()
    for agent in mains:
        total = total.plus(agent.usage)
    entry = {"model": ", ".join(dict.fromkeys(agent.model for agent in mains)), **_used(total)}
    unpriced = sum(agent.usage.tokens_used for agent in mains if agent.is_unpriced)
    if all(agent.is_unpriced for agent in mains):
        entry["cost_usd"] = None
    if unpriced:
        entry["unpriced_tokens"] = unpriced
    if any(agent.is_reported for agent in mains):
        entry["reported"] = True
    return entry


def _name(agent: AgentCost, numbers: dict[str, int]) -> str:
    family = next((f"{name}_agent" for name in FAMILIES if name in agent.model), "agent")
    numbers[family] = numbers.get(family, 0) + 1
    return f"{family}_{numbers[family]}"


def _dollars(amount: float) -> float:
    """Without the noise of adding floats; no token costs less than a hundred-millionth of a dollar."""
    return round(amount, 9) + 0.0


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1) + 0.0 if whole else 0.0
