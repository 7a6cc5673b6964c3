"""What must hold when a storm is over. Every function gives a list of violations; empty is good."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from tests.crash.observer import spool_processes
from tests.crash.storm_driver import Driver
from tests.crash.storm_plans import AskedPlan, AskedTask, Kind, Script
from tests.crash.storm_stage import Stage
from tests.support.repository import CLEAN_GIT, git

from haikud.contracts.usage_journal import AttemptUsage
from haikud.spool.layout import GatewayPaths
from haikud.spool.usage_journal import read_charges, used_by_attempt

Found = dict[str, dict[str, Any]]

_ID = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_ATTEMPT = (
    r"(spec|assignment|dependencies|orders|runner|result|usage)\.json|guidance\.txt|claim|events\.jsonl|out(/.*)?"
)
_TASK = (
    r"agent\.log|decision-\d{4}\.json|response\.json|escalation-\d{4}\.json|guidance-\d{4}\.json|transcript\.jsonl"
    rf"|\.setup-done|git(/.*)?|attempt-\d+(/({_ATTEMPT}))?"
)
_PLAN = rf"request\.(json|yaml)|plan\.json|response\.json|ledger\.jsonl|{_ID}(/({_TASK}))?"
_GATEWAY = r"gateway\.lock|address\.json|(messages|daemon)\.sock|tokens|usage(/\d{4}-\d\d-\d\d\.jsonl)?"
_STATES = "waiting|queued|running|deferred|paused|escalated|succeeded|failed|cancelled"
LEGAL = re.compile(
    r"FORMAT|daemon\.lock|status\.json|\.status\.reserve|queue\.json|day-spend\.json|role-history\.json"
    rf"|incoming|guidance|control|escalations|issues|gateway(/({_GATEWAY}))?|plans(/\.pruned|/{_ID}(/({_PLAN}))?)?"
    rf"|tasks(/({_STATES})(/{_ID})?)?|responses(/{_ID}\.json)?|rejected(/{_ID})?|logs(/agent-{_ID}\.log)?"
)
"""Every name that a spool may hold when nothing runs in it, relative to its root (DESIGN, section 3)."""

OUR_LOCK = "haikud.lock"
"""A file in the repository's git folder that is locked with flock: it stays, its lock does not."""


def check_answers(script: Script, driver: Driver, stage: Stage) -> list[str]:
    """Exactly one answer for everything that was asked, and none has ever changed."""
    wrong = driver.changed_answers()
    there = {path.name for path in (stage.house.spool / "responses").iterdir()}
    expected = driver.expected_answers()
    wrong += [f"not answered: {name}" for name in sorted(expected - there)]
    wrong += [f"an answer to nothing that was asked: {name}" for name in sorted(there - expected)]
    for bad in script.bad:
        answer = _read(stage.house.spool / "responses" / bad.answer)
        if answer.get("status") != "rejected":
            wrong.append(f"{bad.answer} is {answer.get('status')}, not rejected")
    kept = Counter(path.read_bytes() for path in (stage.house.spool / "rejected").iterdir())
    wrong += [f"{bad.name} lies {kept[bad.content]} times in rejected/" for bad in script.bad if kept[bad.content] != 1]
    return wrong


def check_outcomes(script: Script, driver: Driver, stage: Stage) -> tuple[list[str], Counter[str]]:
    """Each task ended as its script says; a cancel may have come too late, and then it says so."""
    wrong: list[str] = []
    outcomes: Counter[str] = Counter()
    aside = driver.set_aside()
    for plan in script.plans:
        statuses = {task.id: _status_of(plan, task, stage) for task in plan.tasks}
        outcomes.update(statuses.values())
        for task in plan.tasks:
            expected = _expected(plan, task, statuses)
            if statuses[task.id] not in expected:
                wrong.append(f"{task.ref} ended as {statuses[task.id]}, expected {' or '.join(sorted(expected))}")
        for target in plan.cancelled:
            ended = [statuses[task.id] for task in plan.tasks if target in {plan.id, task.ref}]
            was_cancelled, too_late = "cancelled" in ended, f"{target}.cancel" in aside
            if was_cancelled == too_late:
                wrong.append(f"{target}.cancel: ended as {ended}, and {'also' if too_late else 'not'} set aside")
        wrong += _check_plan_answer(plan, statuses, stage)
    return wrong, outcomes


def _expected(plan: AskedPlan, task: AskedTask, statuses: dict[str, str]) -> set[str]:
    if any(statuses[name] != "success" for name in task.dependencies):
        legal = {"failure"}
    else:
        legal = {"failure"} if task.kind is Kind.FAILS else {"success"}
    return legal | {"cancelled"} if {plan.id, task.ref} & set(plan.cancelled) else legal


def _status_of(plan: AskedPlan, task: AskedTask, stage: Stage) -> str:
    name = task.ref if len(plan.tasks) > 1 else plan.id
    return str(_read(stage.house.spool / "responses" / f"{name}.json").get("status"))


def _check_plan_answer(plan: AskedPlan, statuses: dict[str, str], stage: Stage) -> list[str]:
    answer = _read(stage.house.spool / "responses" / f"{plan.id}.json")
    if answer.get("message_type") != "plan_completion":
        return []
    told = [(one["task_id"], one["status"]) for one in answer["payload"]["tasks"]]
    return [] if sorted(told) == sorted(statuses.items()) else [f"the answer of {plan.id} says {told}, not {statuses}"]


def check_decisions(script: Script, stage: Stage) -> list[str]:
    """Our own record: one final word per task, the last; every attempt ordered once and settled once."""
    wrong = []
    for task in script.tasks:
        decisions = [_read(path) for path in sorted(stage.task_folder(task).glob("decision-*.json"))]
        states = [decision["state"] for decision in decisions]
        final = [state for state in states if state in {"succeeded", "failed", "cancelled"}]
        started = [decision["attempt"] for decision in decisions if decision["state"] == "running"]
        if [decision["number"] for decision in decisions] != list(range(1, len(decisions) + 1)):
            wrong.append(f"{task.ref}: its decisions are not numbered without gaps")
        if len(final) != 1 or final[0] != states[-1]:
            wrong.append(f"{task.ref}: its states were {states}")
        if started != list(range(1, len(started) + 1)):
            wrong.append(f"{task.ref}: its attempts were {started}")
    return wrong


def check_effects(script: Script, stage: Stage) -> tuple[list[str], int]:
    """Each branch holds each of its steps at most once, a succeeded task's exactly once; how many commits there are."""
    wrong: list[str] = []
    commits = 0
    for plan in script.plans:
        repository = stage.repositories[plan.repository]
        branches = set(git(repository, "branch", "--list", "--format=%(refname:short)").splitlines())
        for task in plan.tasks:
            branch = f"feature/{task.ref}"
            succeeded = _status_of(plan, task, stage) == "success"
            if branch not in branches:
                wrong += [f"{task.ref} succeeded without a branch"] if succeeded else []
                continue
            said = Counter(git(repository, "log", "--no-merges", "--format=%s", f"main..{branch}").splitlines())
            commits += sum(said[mark] for mark in task.marks)
            wrong += [f"{branch} holds {mark!r} {count} times" for mark, count in said.items() if count > 1]
            if succeeded:
                wrong += _check_branch(plan, task, repository, said)
    return wrong, commits


def _check_branch(plan: AskedPlan, task: AskedTask, repository: Path, said: Counter[str]) -> list[str]:
    expected = {mark for one in _with_dependencies(plan, task) for mark in one.marks}
    if set(said) != expected:
        return [f"feature/{task.ref} holds {sorted(said)}, expected {sorted(expected)}"]
    names = git(repository, "ls-tree", "-r", "--name-only", f"feature/{task.ref}", "markers/").splitlines()
    texts = [git(repository, "show", f"feature/{task.ref}:{name}") for name in names]
    return [] if sorted(texts) == sorted(expected) else [f"feature/{task.ref}: its files say {sorted(texts)}"]


def _with_dependencies(plan: AskedPlan, task: AskedTask) -> list[AskedTask]:
    by_id = {one.id: one for one in plan.tasks}
    found: dict[str, AskedTask] = {}
    waiting = [task]
    while waiting:
        one = waiting.pop()
        found[one.id] = one
        waiting += [by_id[name] for name in one.dependencies if name not in found]
    return list(found.values())


def check_beats(script: Script, stage: Stage) -> list[str]:
    """What agents left in the background never outlived their attempt: by the order of lines in one file, no clocks."""
    wrong = []
    for task in script.tasks:
        path = stage.witness / "beats" / task.ref
        current = 0
        for line in path.read_text(encoding="ascii").splitlines() if path.exists() else []:
            word, _, number = line.partition(" ")
            if word == "start":
                if int(number) < current:
                    wrong.append(f"{task.ref}: attempt {number} started after attempt {current}")
                current = int(number)
            elif int(number) != current:
                wrong.append(f"{task.ref}: a process of attempt {number} was alive after attempt {current} started")
                break
    return wrong


def check_processes(stage: Stage) -> list[str]:
    """Nobody is left."""
    found = spool_processes(str(stage.house.spool), stage.tag)
    words = [
        (pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")) for pid in found
    ]
    return [f"process {pid} is left: {text}" for pid, text in words]


def check_costs(stage: Stage) -> list[str]:
    """What an attempt was settled by is what the journal says of it, each call once; and nobody else has called."""
    spool = stage.house.spool
    charges = list(read_charges(GatewayPaths(spool / "gateway")))
    wrong = [f"two ends of the call {name}" for name, n in Counter(one.line.call for one in charges).items() if n > 1]
    settled = set()
    for path in spool.glob("plans/*/*/attempt-*/usage.json"):
        told = AttemptUsage.model_validate_json(path.read_bytes())
        settled.add((told.ref, told.attempt))
        found = used_by_attempt(charges, told.ref, told.attempt)
        if (found.total.requests, found.total.cost_usd) != (told.total.requests, told.total.cost_usd):
            wrong.append(
                f"{told.ref}, attempt {told.attempt}: {told.total.cost_usd} USD, journal {found.total.cost_usd}"
            )
    unsettled = {(one.line.ref, one.line.attempt) for one in charges} - settled
    return wrong + [f"{ref}, attempt {attempt}: its calls are in no usage.json" for ref, attempt in sorted(unsettled)]


def check_names(stage: Stage) -> list[str]:
    """No file in the spool that does not belong there."""
    spool = stage.house.spool
    names = (str(path.relative_to(spool)) for path in sorted(spool.rglob("*")))
    return [f"stray in the spool: {name}" for name in names if not LEGAL.fullmatch(name)]


def check_repositories(script: Script, stage: Stage) -> list[str]:
    """Whole, unlocked, and every worktree one like any other."""
    wrong = []
    for repository in stage.repositories:
        fsck = subprocess.run(
            ["git", "-C", repository, "fsck", "--strict", "--no-dangling", "--no-progress"],
            capture_output=True,
            text=True,
            check=False,
        )
        said = (fsck.stdout + fsck.stderr).strip()
        if fsck.returncode or said:
            wrong.append(f"git fsck of {repository.name}: {fsck.returncode} {said[:500]}")
        locks = [path for path in repository.rglob("*.lock") if path.is_file() and path.name != OUR_LOCK]
        wrong += [f"left locked: {path}" for path in locks]
        listed = git(repository, "worktree", "list", "--porcelain")
        wrong += [
            f"{repository.name}: {entry}"
            for entry in listed.split("\n\n")
            if re.search(r"^locked", entry, re.MULTILINE)
        ]
    for plan in script.plans:
        for task in plan.tasks:
            worktree = stage.repositories[plan.repository] / "worktrees" / task.ref
            wrong += [f"left locked: {path}" for path in (stage.task_folder(task) / "git").rglob("*.lock")]
            if worktree.exists() and _status_of(plan, task, stage) == "success":
                wrong += _check_worktree(worktree, task)
    return wrong


def _check_worktree(worktree: Path, task: AskedTask) -> list[str]:
    ran = subprocess.run(
        ["git", "status", "--porcelain", "--branch"],
        cwd=worktree,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **CLEAN_GIT},
        capture_output=True,
        text=True,
        check=False,
    )
    said = (ran.stdout + ran.stderr).strip()
    return [] if said == f"## feature/{task.ref}" else [f"the worktree of {task.ref}: {said}"]


def check_doctor(stage: Stage) -> tuple[list[str], str]:
    """`haikud doctor` has nothing to say but of the sandbox and Claude Code; what it says otherwise, and one word."""
    ran = stage.house.haikud("doctor", "--spool", str(stage.house.spool))
    said = re.findall(r"^ +(?!ok )\w+ +(?!sandbox:|claude:)\w+: .*$", ran.stdout, re.MULTILINE)
    if ran.returncode == 0 and not said and "ok: 0 faults" in ran.stdout:
        return [], "clean"
    return [
        f"haikud doctor: {ran.returncode} {ran.stderr} {text.strip()}" for text in said or [ran.stdout]
    ], "not clean"


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found
