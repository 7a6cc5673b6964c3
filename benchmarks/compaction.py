"""What a conversation costs that grows past the price step at 100,000 tokens: compacted by haikud, by the API, or not.

Run, at the top of a checkout: python -m benchmarks.compaction

The built-in agent on Haiku 5.5 over HTTP against the scripted Messages API, which clears, counts and caches as the
API's description says. Each turn looks at something new. Four ways: no compaction; the API's own rule with a fixed
`trigger` and `keep`; haikud's.

What it does not show: whether the model needs again what was cleared. Here it never does, so that clearing more is
always cheaper; a real agent looks again, and pays for that.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.haiku_orders import make_order
from tests.support.repository import make_repository

from haikud.agent.haiku.compaction import Compaction
from haikud.agent.haiku.session import run_haiku
from haikud.contracts.settings import ContextSettings
from haikud.costs.context_editing import BETA, CLEAR_TOOL_USES
from haikud.offline.scenario import Scenario, parse_scenario
from haikud.offline.server import ScriptedApi

LIMIT = 80_000
SHAPES = ((50, 16_000), (90, 8_000))
"""Turns, and bytes that each one adds."""


def looking(turns: int, size: int) -> Scenario:
    """A model that looks at something new in each turn."""
    command = "head -c {size} /dev/zero | tr '\\0' '{letter}' | fold -w 70; echo {number}"
    said: list[dict[str, Any]] = [
        {
            "tools": [
                {"name": "bash", "input": {"command": command.format(size=size, letter=chr(97 + n % 26), number=n)}}
            ]
        }
        for n in range(turns)
    ]
    return parse_scenario({"name": "looking", "conversations": [{"turns": [*said, {"text": "Done."}]}]})


@contextmanager
def left_to_the_api(keep: int) -> Iterator[None]:
    """The API's own rule: from the limit on, all but the `keep` newest results are cleared, in each request anew."""
    edit = {
        "type": CLEAR_TOOL_USES,
        "trigger": {"type": "input_tokens", "value": LIMIT},
        "keep": {"type": "tool_uses", "value": keep},
    }
    fields = {"extra_headers": {"anthropic-beta": BETA}, "extra_body": {"context_management": {"edits": [edit]}}}
    with (
        mock.patch.object(Compaction, "before_call", lambda _self, _transcript, tokens: tokens),
        mock.patch.object(Compaction, "fields", return_value=fields),
        mock.patch.object(Compaction, "heed", return_value=None),
    ):
        yield


def cost(turns: int, size: int, at: int) -> str:
    """One row's figures."""
    with tempfile.TemporaryDirectory() as name, ScriptedApi(looking(turns, size)) as api:
        folder = Path(name)
        order = make_order(folder, make_repository(folder / "project"), api.base_url, "Look at everything")
        context = ContextSettings.model_validate({"compact_at_tokens": at})
        limits = order.spec.limits.model_copy(update={"max_turns": turns + 1})
        spec = order.spec.model_copy(update={"context": context, "limits": limits, "budget_usd": 50.0})
        end = run_haiku(dataclasses.replace(order, spec=spec))
        assert end.kind == "done", end
        usages = [exchange.usage for exchange in api.journal if exchange.usage]
    wholes = [
        usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
        for usage in usages
    ]
    read = sum(usage["cache_read_input_tokens"] for usage in usages) / sum(wholes)
    return f"{end.usage.cost_usd:8.4f} {max(wholes):9} {read:6.0%}"


def main() -> None:
    """The table."""
    print(f"{'turns x bytes':14} {'way':26} {'USD':>8} {'longest':>9} {'read':>6}")
    for turns, size in SHAPES:
        shape = f"{turns} x {size}"
        print(f"{shape:14} {'no compaction':26} {cost(turns, size, 0)}")
        for keep in (3, 10):
            with left_to_the_api(keep):
                print(f"{shape:14} {f'the API, newest {keep} kept':26} {cost(turns, size, LIMIT)}")
        for at in (LIMIT, 40_000, 20_000):
            print(f"{shape:14} {f'haikud, at {at}':26} {cost(turns, size, at)}")


if __name__ == "__main__":
    main()
