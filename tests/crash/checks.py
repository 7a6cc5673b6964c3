"""What must be true after a crash and an ordinary daemon: seen on the disk, in git and in /proc, not in our own logs.

Each check returns what it found wrong, in words; nothing is wrong where the list is empty.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from tests.crash.scenario import Scenario, runs_of
from tests.support.house import House
from tests.support.repository import git

from haikud.spool.layout import SpoolLayout
from haikud.spool.usage_journal import read_charges

OUT = b"HAIKUD_OUT="

OURS = "haikud.lock"
"""In the git folder, for flock: it stays."""


def living_attempts(spool: Path) -> dict[Path, list[int]]:
    """attempt-N folders with a living process of theirs, by the environment of every process of this machine."""
    mark = OUT + os.fsencode(spool)
    found: dict[Path, list[int]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            environ = Path(entry.path, "environ").read_bytes()
            if mark not in environ or Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
        except OSError:
            continue
        out = next(part for part in environ.split(b"\0") if part.startswith(OUT)).removeprefix(OUT)
        found.setdefault(Path(os.fsdecode(out)).parent, []).append(int(entry.name))
    return found


def overlapping(spool: Path) -> list[str]:
    """Tasks of which two attempts live at this moment."""
    of_task = Counter(folder.parent for folder in living_attempts(spool))
    return [f"two attempts of {task.name} live together" for task, count in of_task.items() if count > 1]


def check_end(house: House, scenario: Scenario, *, runner_died: bool) -> list[str]:
    """Everything that must hold once the story is over and the daemon has ended."""
    return [
        *_check_answers(house, scenario),
        *_check_tasks(house, scenario),
        *_check_runs(house, scenario, runner_died=runner_died),
        *_check_tidy(house, scenario),
        *_check_money(house, scenario),
        *_check_git(house, scenario),
        *[f"still alive: {pids} of {folder}" for folder, pids in living_attempts(house.spool).items()],
    ]


def _check_answers(house: House, scenario: Scenario) -> list[str]:
    wrong: list[str] = []
    found = {path.name for path in (house.spool / "responses").iterdir()}
    wanted = {f"{name}.json" for name in scenario.answers}
    if found != wanted:
        wrong.append(f"responses/ holds {sorted(found)}, not {sorted(wanted)}")
    for name, status in scenario.answers.items():
        answer = house.read(f"responses/{name}.json")
        if answer is None or answer["status"] != status:
            wrong.append(f"responses/{name}.json: {answer and answer['status']}, not {status}")
    for ref in scenario.tasks:
        folder = house.task_folder(ref)
        older = [path for path in folder.glob("response.*.json") if path.name != "response.json"]
        plan_id = ref.partition(".")[0]
        if len(older) != scenario.older_answers.get(plan_id, 0):
            wrong.append(f"{ref} has older answers {sorted(path.name for path in older)}")
        answer = house.read(f"responses/{ref}.json")
        if answer != house.read(f"{folder.relative_to(house.spool)}/response.json"):
            wrong.append(f"the answers to {ref} in responses/ and in its folder differ")
    if open_questions := list((house.spool / "escalations").iterdir()):
        wrong.append(f"escalations/ holds {[path.name for path in open_questions]}")
    return wrong


def _check_tasks(house: House, scenario: Scenario) -> list[str]:
    wrong: list[str] = []
    for ref, task in scenario.tasks.items():
        links = [path for path in (house.spool / "tasks").glob(f"*/{ref}") if path.is_symlink()]
        if [path.parent.name for path in links] != [task.state] or not links[0].resolve().is_dir():
            wrong.append(f"{ref} is linked as {[path.parent.name for path in links]}, not {task.state}")
        decisions = house.decisions(*ref.split("."))
        numbers = [one["number"] for one in decisions]
        if numbers != list(range(1, len(numbers) + 1)):
            wrong.append(f"{ref} has decisions {numbers}")
        if decisions[-1]["state"] != task.state:
            wrong.append(f"the last decision on {ref} is {decisions[-1]['state']}")
        settled = Counter(one["attempt"] for one in decisions if one.get("outcome"))
        started = Counter(one["attempt"] for one in decisions if one["state"] == "running")
        if max(settled.values(), default=0) > 1 or max(started.values(), default=0) > 1 or settled != started:
            wrong.append(f"{ref} started {dict(started)} and settled {dict(settled)}")
        tokens = Counter(one["token"] for one in decisions if one.get("token"))
        if max(tokens.values(), default=0) > 1:
            wrong.append(f"{ref} obeyed a file twice: {dict(tokens)}")
    extra = {path.name for path in (house.spool / "tasks").glob("*/*")} - set(scenario.tasks)
    return [*wrong, *([f"links of nobody's: {sorted(extra)}"] if extra else [])]


def _check_runs(house: House, scenario: Scenario, *, runner_died: bool) -> list[str]:
    """An attempt's agent begins once at most; where no runner died, as often as in a world without crashes."""
    runs = runs_of(house)
    wrong = [f"{ref} attempt {attempt} began {n} times" for (ref, attempt), n in Counter(runs).items() if n > 1]
    for ref, task in scenario.tasks.items():
        count = len([one for one in runs if one[0] == ref])
        if task.runs is not None and not (count == task.runs or (runner_died and count <= task.runs + 1)):
            wrong.append(f"the agent of {ref} began {count} times, not {task.runs}")
        last = [one["attempt"] for one in house.decisions(*ref.split(".")) if one["state"] == "running"]
        if len(last) > (task.runs or 1) + 1:
            wrong.append(f"{ref} needed {len(last)} attempts")
    return wrong


def _check_tidy(house: House, scenario: Scenario) -> list[str]:
    wrong: list[str] = []
    for name in ("incoming", "guidance", "control"):
        left = sorted(path.name for path in (house.spool / name).iterdir())
        wrong += [f"{name}/ holds {left}"] if left else []
    if builds := [path.name for path in (house.spool / "plans").glob(".*.new")]:
        wrong.append(f"plans/ holds {builds}")
    wanted = {*scenario.rejected, *(f"{name}.reason.json" for name in scenario.rejected)}
    found = {path.name for path in (house.spool / "rejected").iterdir()}
    if found != wanted:
        wrong.append(f"rejected/ holds {sorted(found)}, not {sorted(wanted)}")
    temporary = [str(path.relative_to(house.spool)) for path in house.spool.rglob(".*.tmp")]
    if temporary:
        wrong.append(f"temporary files are left: {temporary}")
    logs = {path.name for path in (house.spool / "logs").iterdir()}
    if logs != {f"agent-{ref}.log" for ref in scenario.tasks}:
        wrong.append(f"logs/ holds {sorted(logs)}")
    return wrong


def _check_money(house: House, scenario: Scenario) -> list[str]:
    """What the answers cost is what the gateway's journal says that calls have cost."""
    if scenario.api is None:
        return []
    answers = [house.read(f"responses/{name}.json") or {} for name in scenario.answers]
    cost = sum(answer["metrics"]["cost_usd"] for answer in answers)
    booked = sum(charge.entry.cost_usd for charge in read_charges(SpoolLayout(house.spool).gateway))
    return [] if cost > 0 and abs(cost - booked) < 1e-6 else [f"the answers cost {cost} USD, the journal {booked}"]


def _check_git(house: House, scenario: Scenario) -> list[str]:
    wanted = {ref: task.commits for ref, task in scenario.tasks.items() if task.commits is not None}
    wrong: list[str] = []
    repository = house.repository
    branches = set(git(repository, "for-each-ref", "--format=%(refname:short)").splitlines())
    if branches != {"main", *(f"feature/{ref}" for ref in wanted)}:
        wrong.append(f"refs are {sorted(branches)}")
        return wrong
    if git(repository, "status", "--porcelain") or git(repository, "rev-list", "--count", "main") != "1":
        wrong.append("the checkout itself has changed")
    for ref, count in wanted.items():
        subjects = git(repository, "log", "--format=%s", f"main..feature/{ref}").splitlines()
        if len(subjects) != count or len(set(subjects)) != count:
            wrong.append(f"feature/{ref} has the commits {subjects}, not {count}")
        worktree = repository / "worktrees" / ref
        if left := git(worktree, "status", "--porcelain", "--ignored"):
            wrong.append(f"{worktree} is not clean: {left}")
        if git(worktree, "rev-parse", "--abbrev-ref", "HEAD") != f"feature/{ref}":
            wrong.append(f"{worktree} is not on its branch")
    done = subprocess.run(["git", "fsck", "--strict"], cwd=repository, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(("dangling", "Checking"))]
    if done.returncode or said:
        wrong.append(f"git fsck: {said}")
    locks = [str(path.relative_to(repository)) for path in (repository / ".git").rglob("*.lock") if path.name != OURS]
    listed = git(repository, "worktree", "list", "--porcelain")
    if locks or "locked" in listed or "prunable" in listed:
        wrong.append(f"git is left locked: {locks} {listed}")
    return wrong
