"""The guide's `agent_costs` block: what each agent cost, the total, and the same requests at Sonnet's prices.

Pure and quick to import: usage totals carry what Sonnet would have cost, so nothing is priced here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from haikud.contracts.base import JsonObject
from haikud.contracts.usage import UsageTotal

_FAMILIES = ("haiku", "sonnet", "opus")


@dataclass(frozen=True)
class AgentCost:
    """What one agent used on one task, over all attempts."""

    model: str
    task: str
    usage: UsageTotal
    is_main: bool = False  # the main agent itself, where its usage is known


def agent_costs(agents: Iterable[AgentCost]) -> JsonObject:
    """The guide's block. `input_tokens` are those of every class, so that they and the output make `tokens_used`.

    Agents are numbered in the order given, per family: haiku_agent_1, haiku_agent_2, sonnet_agent_1. The savings are
    negative where the agents were dearer than Sonnet.
    """
    block: JsonObject = {}
    numbers: dict[str, int] = {}
    total = UsageTotal()
    for agent in agents:
        usage = agent.usage
        total = total.plus(usage)
        block[_name(agent, numbers)] = {
            "model": agent.model,
            **({} if agent.is_main else {"task": agent.task}),
            "input_tokens": usage.tokens_used - usage.output_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": _dollars(usage.cost_usd),
        }
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


def _name(agent: AgentCost, numbers: dict[str, int]) -> str:
    if agent.is_main and "main_agent" not in numbers:
        numbers["main_agent"] = 1
        return "main_agent"
    family = next((f"{name}_agent" for name in _FAMILIES if name in agent.model), "agent")
    numbers[family] = numbers.get(family, 0) + 1
    return f"{family}_{numbers[family]}"


def _dollars(amount: float) -> float:
    """Without the noise of adding floats; no token costs less than a hundred-millionth of a dollar."""
    return round(amount, 9) + 0.0


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1) + 0.0 if whole else 0.0
