"""How long the built-in agent's prompts are: the compact assignment, and files in it instead of their names.

Run, at the top of a checkout: python -m benchmarks.prompt

1. The first message of each request in spool/examples against the plain JSON of the same assignment, in tokens.
2. A task that names files as worth reading, on the real loop against the scripted Messages API, which counts tokens
   and cache from the prefixes it has really seen: with the files' contents in the first message, and with their names
   only and a model that views those it needs. Calls, tokens by class and cost at Haiku 5.5's prices.

What it does not show: real tokens (the estimate is one for four bytes; a tokenizer differs by some ten percent, and by
more for other scripts and for code), a model's judgement (the scripted one views all that it needs in one turn, which
is the best that names can do), or whether a shorter prompt is understood as well.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.haiku_orders import make_order
from tests.support.repository import make_repository

from haikud.agent.haiku.context import gather_context
from haikud.agent.haiku.prompt import first_message
from haikud.agent.haiku.session import HaikuOrder, run_haiku
from haikud.contracts.attempt import Assignment
from haikud.contracts.base import utc_now
from haikud.contracts.plan import Plan
from haikud.contracts.settings import Settings
from haikud.costs.tokens import estimate_tokens
from haikud.engine.admission.prepare import prepare_plan
from haikud.engine.admission.rejection import Rejected
from haikud.engine.attempts.specs import build_assignment
from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi
from haikud.roles.catalogue import find_roles

EXAMPLES = Path(__file__).resolve().parents[1] / "spool" / "examples"

EDITOR = "str_replace_based_edit_tool"
WRITE = {"name": EDITOR, "input": {"command": "create", "path": "new.py", "file_text": "x = 1\n"}}
EDITS = [{"tools": [WRITE]}, {"tools": [WRITE]}, {"text": "Done."}]
"""What is left of the task once the files are known: two calls that work and one that says so."""


def compact(folder: Path) -> None:
    """Table 1."""
    repository = make_repository(folder / "project")
    print(f"{'request in spool/examples':34} {'task':14} {'JSON':>6} {'lean JSON':>9} {'message':>8} {'saved':>6}")
    whole = [0, 0, 0]
    for path in sorted(EXAMPLES.glob("*-*.json")) + sorted(EXAMPLES.glob("*-*.yaml")):
        plan = _plan(path, repository, folder)
        if plan is None:
            continue
        for task in plan.tasks:
            assignment = build_assignment(task)
            plain = estimate_tokens(assignment.model_dump_json(indent=2))
            lean = estimate_tokens(json.dumps(assignment.model_dump(mode="json", exclude_defaults=True)))
            said = estimate_tokens(_without_place(first_message(_order(folder, repository, assignment))))
            whole[0] += plain
            whole[1] += lean
            whole[2] += said
            print(f"{path.name:34} {task.id:14} {plain:6} {lean:9} {said:8} {1 - said / plain:6.0%}")
    print(f"{'all':49} {whole[0]:6} {whole[1]:9} {whole[2]:8} {1 - whole[2] / whole[0]:6.0%}")


def _plan(path: Path, repository: Path, folder: Path) -> Plan | None:
    settings = Settings.model_validate({"default_repository": str(repository)})
    try:
        return prepare_plan(
            path.read_bytes(),
            path.name,
            "00000000",
            settings=settings,
            spool_root=folder / "spool",
            now=utc_now(),
            catalogue=find_roles(),
            is_taken=lambda _: False,
        )
    except Rejected:  # settings of another kind lie there too
        return None


def _order(folder: Path, repository: Path, assignment: Assignment) -> HaikuOrder:
    order = make_order(folder, repository, "http://127.0.0.1:1", "x")
    return dataclasses.replace(order, assignment=assignment)


def _without_place(message: str) -> str:
    """The first line names worktree and branch, which the JSON does not."""
    return message.partition("\n")[2]


def contexts(folder: Path) -> None:
    """Table 2."""
    print(
        f"\n{'files named, needed':28} {'told of':10} {'calls':>5} {'input':>6} {'written':>7} {'read':>6} {'out':>5} "
        f"{'USD':>9}"
    )
    for sizes, needed in (((500, 300), 2), ((500, 300), 1), ((2000,) * 4, 4), ((2000,) * 4, 1), ((2000,) * 4, 0)):
        named = f"{len(sizes)} of {sizes[0]} tokens, {needed}"
        for kind, most in (("contents", 8_000), ("names", 0)):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                usage, calls = _talk(Path(place), sizes, needed if kind == "names" else 0, most)
            written, read, fresh = usage.cache_write_tokens, usage.cache_read_tokens, usage.input_tokens
            print(
                f"{named:28} {kind:10} {calls:5} {fresh:6} {written:7} {read:6} {usage.output_tokens:5} "
                f"{usage.cost_usd:9.6f}"
            )


def _talk(place: Path, sizes: Sequence[int], viewed: int, most: int) -> tuple[Any, int]:
    repository = make_repository(place / "project")
    names = [f"src/file{number}.py" for number in range(len(sizes))]
    (repository / "src").mkdir()
    for name, size in zip(names, sizes, strict=True):
        (repository / name).write_text("value = compute(value)  # a line\n" * (size * 4 // 33), encoding="utf-8")
    views = [{"name": EDITOR, "input": {"command": "view", "path": name}} for name in names[:viewed]]
    turns = [*([{"tools": views}] if views else []), *EDITS]
    gather: Callable[[], Any] = lambda: gather_context(repository, names, most)  # noqa: E731
    with ScriptedApi(parse_scenario({"name": "b", "conversations": [{"turns": turns}]})) as api:
        order = make_order(place, repository, api.base_url, "Change what is to be changed")
        end = run_haiku(dataclasses.replace(order, gather_context=gather))
        assert end.kind == "done", end
        return end.usage, len(api.journal)


def main() -> None:
    """Both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compact(folder)
        contexts(folder)


if __name__ == "__main__":
    main()
