"""What a fixed set of scripted tasks costs, four ways, and what each technique saves of it.

Run, at the top of a checkout: python -m benchmarks.cost

The naive loop (`benchmarks/naive_loop.py`) without caching on Sonnet 5.5 and on Haiku, and haikud's built-in agent on
Haiku 5.5 and 4.5: the same scripted turns on real files with real commands, over HTTP against the scripted Messages
API, which counts tokens and cache from the prefixes it has really seen. Each call is priced by genai-prices.

The techniques are taken away one at a time from haikud on Haiku 5.5; what that adds is what the technique saves.
Without caching: the same calls with every input token at the plain price.

What it does not show: real tokens (one for four bytes, for all models alike), and a model's judgement. The scripted one
does the same whatever it is told: it makes neither more calls because an output was cut nor fewer because a prompt was
better, and Sonnet might need fewer turns than Haiku. So it compares what loops send, not what models achieve.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cost_tasks import TASKS, ScriptedTask, make_project
from benchmarks.naive_loop import run_naive
from tests.support.haiku_orders import make_order

from haikud.agent.haiku.context import gather_context
from haikud.agent.haiku.session import run_haiku
from haikud.contracts.attempt import Assignment, Spec
from haikud.contracts.base import utc_now
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.costs.prices import PriceList
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

SONNET, HAIKU, OLD_HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5"

Change = Callable[[dict[str, Any]], None]
"""Takes one technique out of a spec, as JSON."""


def without_cut(spec: dict[str, Any]) -> None:
    """Tool outputs go back whole."""
    spec["limits"]["tool_output_bytes"] = 10_000_000


def without_notes(spec: dict[str, Any]) -> None:
    """What the conversation holds already is sent again."""
    spec["context"]["note_repeats"] = False


TECHNIQUES: dict[str, Change] = {"outputs cut": without_cut, "repeats noted": without_notes}


def by_naive(task: ScriptedTask, model: str, folder: Path) -> list[UsageEntry]:
    """The calls of the naive loop."""
    repository = make_project(folder / "project")
    with ScriptedApi(_script(task)) as api:
        run_naive(api.base_url, model, repository, task.verbose)
        return _entries(api, model)


def by_haikud(
    task: ScriptedTask, model: str, folder: Path, change: Change | None = None, *, verbose: bool = False
) -> list[UsageEntry]:
    """The calls of haikud's built-in agent, as the package's role for such tasks."""
    repository = make_project(folder / "project")
    with ScriptedApi(_script(task)) as api:
        order = make_order(folder, repository, api.base_url, task.title)
        document = json.loads(order.spec.model_dump_json())
        document["role"]["model"] = model
        document["limits"]["max_turns"] = 100
        document["budget_usd"] = 50.0
        if change is not None:
            change(document)
        spec = Spec.model_validate(document)
        said = {"title": task.title, "files": list(task.files)}
        if verbose:
            said = {"title": task.title, "description": task.verbose}
        assignment = Assignment.model_validate({"task_id": "alone", "context": {}, **said})
        gather = lambda: gather_context(repository, [], spec.context.max_tokens)  # noqa: E731
        end = run_haiku(dataclasses.replace(order, spec=spec, assignment=assignment, gather_context=gather))
        assert end.kind == "done", end
        return _entries(api, model)


def _script(task: ScriptedTask) -> Any:
    return parse_scenario({"name": "scripted", "conversations": [{"turns": list(task.turns)}]})


def _entries(api: ScriptedApi, model: str) -> list[UsageEntry]:
    """What the scripted API counted, priced."""
    prices = PriceList({}, SONNET)
    return [prices.price_message(model, one.usage, utc_now()) for one in api.journal if one.usage]


def total(entries: Sequence[UsageEntry]) -> UsageTotal:
    """Their sum."""
    sums = UsageTotal()
    for entry in entries:
        sums = sums.plus_entry(entry)
    return sums


def uncached(entries: Sequence[UsageEntry]) -> float:
    """US dollars, were every input token new."""
    prices = PriceList({}, SONNET)
    usages = [(one, {"input_tokens": one.context_tokens, "output_tokens": one.output_tokens}) for one in entries]
    return sum(prices.price_message(one.model, usage, utc_now()).cost_usd for one, usage in usages)


def _in_new_folder(run: Callable[[Path], list[UsageEntry]]) -> list[UsageEntry]:
    with tempfile.TemporaryDirectory() as name:
        return run(Path(name))


WAYS: dict[str, Callable[[ScriptedTask, Path], list[UsageEntry]]] = {
    "naive, Sonnet 5.5": lambda task, folder: by_naive(task, SONNET, folder),
    "naive, Haiku 5.5": lambda task, folder: by_naive(task, HAIKU, folder),
    "naive, Haiku 4.5": lambda task, folder: by_naive(task, OLD_HAIKU, folder),
    "haikud, Haiku 5.5": lambda task, folder: by_haikud(task, HAIKU, folder),
    "haikud, Haiku 4.5": lambda task, folder: by_haikud(task, OLD_HAIKU, folder),
}


def ways() -> dict[str, UsageTotal]:
    """The first table: every task every way."""
    print(f"{'task':12} {'way':18} {'calls':>5} {'new':>8} {'written':>8} {'read':>8} {'out':>6} {'USD':>10}")
    sums = {name: UsageTotal() for name in WAYS}
    for task in TASKS:
        for name, run in WAYS.items():
            used = total(_in_new_folder(partial(run, task)))
            sums[name] = sums[name].plus(used)
            _print_row(task.name, name, used)
    for name, used in sums.items():
        _print_row("all", name, used)
    return sums


def _print_row(task: str, way: str, used: UsageTotal) -> None:
    print(
        f"{task:12} {way:18} {used.requests:5} {used.input_tokens:8} {used.cache_write_tokens:8} "
        f"{used.cache_read_tokens:8} {used.output_tokens:6} {used.cost_usd:10.6f}"
    )


def ratios(sums: dict[str, UsageTotal]) -> None:
    """The two effects apart: the loop on the same model, and the model."""
    cost = {name: used.cost_usd for name, used in sums.items()}
    print()
    for model in ("Haiku 5.5", "Haiku 4.5"):
        share = cost[f"haikud, {model}"] / cost[f"naive, {model}"]
        print(f"the loop alone, on {model}: haikud costs {share:.0%} of the naive loop")
    print(f"the model alone, naive loop: Haiku 5.5 costs {cost['naive, Haiku 5.5'] / cost['naive, Sonnet 5.5']:.1%}")
    saved = 1 - cost["haikud, Haiku 5.5"] / cost["naive, Sonnet 5.5"]
    print(f"both: haikud on Haiku 5.5 costs {saved:.1%} less than the naive loop on Sonnet 5.5")


def techniques(whole: float) -> None:
    """The second table: what each technique saves, on Haiku 5.5."""
    print(f"\n{'without':22} {'USD':>10} {'saved by it':>12}")
    print(f"{'(everything on)':22} {whole:10.6f}")
    entries = [_in_new_folder(partial(by_haikud, task, HAIKU)) for task in TASKS]
    _print_saved("caching", sum(uncached(one) for one in entries), whole)
    for name, change in TECHNIQUES.items():
        costs = [total(_in_new_folder(partial(by_haikud, task, HAIKU, change=change))).cost_usd for task in TASKS]
        _print_saved(name, sum(costs), whole)
    prose = [total(_in_new_folder(partial(by_haikud, task, HAIKU, verbose=True))).cost_usd for task in TASKS]
    _print_saved("compact assignments", sum(prose), whole)


def _print_saved(name: str, usd: float, whole: float) -> None:
    print(f"{name:22} {usd:10.6f} {1 - whole / usd:12.1%}")


def main() -> None:
    """All tables."""
    argparse.ArgumentParser(description="What a fixed set of scripted tasks costs.").parse_args()
    sums = ways()
    ratios(sums)
    techniques(sums["haikud, Haiku 5.5"].cost_usd)


if __name__ == "__main__":
    main()
