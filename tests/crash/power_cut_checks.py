"""What must hold after a power cut, once the fresh daemon has nothing left to do. Each check gives faults in words."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.crash.power_cut_world import Request, World
from tests.support.house import House

MEANINGLESS = {
    "runner.json",
    "orders.json",  # of an attempt that the cut ended: not synced, and nobody reads them again
    "assignment.json",  # likewise: spec.json has all that is in it
    "dependencies.json",
    "role-history.json",  # derived, not synced: what cannot be read of it is begun anew
}
FINAL = {"succeeded", "failed", "cancelled"}


def faults(world: World, before: list[Request], started: list[str]) -> list[str]:
    """Everything that is wrong. `before`: the ledger at the cut; `started`: the agents' starts since."""
    house = world.house
    found: list[str] = []
    for old, request in zip(before, world.requests, strict=True):
        found += _request_faults(world, old, request, started)
    found += _file_faults(house)
    found += _repository_faults(house)
    return found


def _request_faults(world: World, old: Request, request: Request, started: list[str]) -> Iterator[str]:
    spool = world.house.spool
    status = world.status_of(request)
    who = f"{request.id} ({request.how})"
    certain = old.durable or old.acknowledged
    if status is None:
        if certain:
            yield f"{who} is lost: it was {'acknowledged' if old.acknowledged else 'dropped properly'}"
        if os.path.lexists(spool / "plans" / request.id):
            yield f"{who} was admitted and never answered"
    elif status == request.expected:
        yield from _answer_faults(world, old, request, started)
    elif certain or status != "rejected":  # what is left of a careless drop may be of no use: it is told so
        yield f"{who} was answered {status}, not {request.expected}: {_why(world.house, request)}"


def _answer_faults(world: World, old: Request, request: Request, started: list[str]) -> Iterator[str]:
    house = world.house
    for name, seen in old.answers.items():
        if seen not in _all_answers(house.spool, name):
            yield f"the answer {name} that was seen before the cut is nowhere to be found"
    if request.name in old.answers and json.loads(old.answers[request.name])["status"] == request.expected:
        yield from (f"{request.id} had its answer and was started again" for line in started if line in request.refs)
    if request.expected != "rejected":
        for ref in request.refs:
            yield from _task_faults(house, ref)
            if request.expected == "success":
                yield from _work_faults(house, ref)


def _why(house: House, request: Request) -> str:
    answer = house.read(f"responses/{request.name}") or {}
    report = answer.get("payload", {}).get("error_report") or {}
    return json.dumps(report.get("error", report))[:600]


def _all_answers(spool: Path, name: str) -> list[bytes]:
    plan, _, task = name.removesuffix(".json").partition(".")
    kept = (spool / "plans" / plan / task).glob("response*.json")
    return [path.read_bytes() for path in (spool / "responses" / name, *kept) if path.exists()]


def _task_faults(house: House, ref: str) -> Iterator[str]:
    plan, _, task = ref.partition(".")
    links = [folder.name for folder in (house.spool / "tasks").iterdir() if os.path.lexists(folder / ref)]
    decisions = house.decisions(plan, task or plan)
    states = [decision["state"] for decision in decisions]
    if [decision["number"] for decision in decisions] != list(range(1, len(decisions) + 1)):
        yield f"{ref} has decisions with gaps: {states}"
    if links != states[-1:] or states[-1] not in FINAL:
        yield f"{ref} is linked in {links} and was last decided {states[-1:]}"
    retries = sum(state in FINAL for state in states[:-1])
    if retries > (1 if "fails" in ref else 0):
        yield f"{ref} ended more than once: {states}"


def _work_faults(house: House, ref: str) -> Iterator[str]:
    """A done that is one: the commit that the answer names is there, on the branch, with the work in it."""
    plan, _, task = ref.partition(".")
    answer = json.loads((house.spool / "plans" / plan / (task or plan) / "response.json").read_bytes())
    head = answer["payload"]["evidence"]["head_sha"]
    tip = ask_git(house, "rev-parse", f"feature/{ref}")
    if tip != head:
        yield f"{ref}: its answer names {head}, its branch {tip}"
    for path in ask_git(house, "ls-tree", "-r", "--name-only", head).splitlines():
        content = ask_git(house, "cat-file", "blob", f"{head}:{path}")
        if path.startswith("work-") and content != f"work of {path[5:-4]}":
            yield f"{ref}: {path} holds {content[:80]!r}"
        if path == "calc.py" and "def add" not in content:
            yield f"{ref}: {path} of the repository was spoilt: {content[:80]!r}"
    if f"work-{ref}.txt" not in ask_git(house, "ls-tree", "--name-only", head):
        yield f"{ref}: succeeded, and its work is not in {head}"
    worktree = house.repository / "worktrees" / ref
    status = ask_git(house, "-C", str(worktree), "status", "--porcelain") if worktree.exists() else "(gone)"
    if status:
        yield f"{ref}: its worktree is not clean: {status[:200]}"


def _file_faults(house: House) -> Iterator[str]:
    spool = house.spool
    for path in spool.rglob("*.json"):
        if "out" in path.parts or path.parent.name == "rejected" or path.is_symlink() or path.name in MEANINGLESS:
            continue
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            yield f"{path.relative_to(spool)} is not whole: {error}: {path.read_bytes()[:60]!r}"
    for folder in ("incoming", "guidance", "control"):
        names = sorted(path.name for path in (spool / folder).iterdir())
        left = [name for name in names if not (name.startswith(".") and name.endswith(".new"))]
        if left:
            yield f"{folder}/ still holds {left}"
    reasons = {path.name for path in (spool / "rejected").glob("*.reason.json")}
    for path in (spool / "rejected").iterdir():
        if not path.name.endswith(".reason.json") and f"{path.name}.reason.json" not in reasons:
            yield f"rejected/{path.name} has no reason"


def _repository_faults(house: House) -> Iterator[str]:
    said = ask_git(house, "fsck", "--full", "--no-dangling", "--no-progress")
    if said:
        yield f"git fsck: {said[:600]}"


def ask_git(house: House, *args: str) -> str:
    """Git by hand, with what it says where it fails."""
    done = subprocess.run(
        ["git", *args], cwd=house.repository, capture_output=True, text=True, check=False, env=house.base_environment()
    )
    return (done.stdout + (done.stderr if done.returncode else "")).strip()
