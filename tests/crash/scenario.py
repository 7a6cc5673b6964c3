"""What the walk does while processes die: small stories of requests, answers and commands, each told in a few seconds.

A story is a list of steps. A step waits until the spool shows that its time has come and then happens once, whichever
daemon lives by then; the requester of a story never does anything twice. What must be true in the end is part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.house import House
from tests.support.scripts import conversation
from tests.support.scripts import scenario as api_script

Look = Callable[[House], object]


@dataclass(frozen=True)
class Step:
    """What the requester does, and when."""

    when: Look
    do: Callable[[House], None]


@dataclass(frozen=True)
class Task:
    """How a task must stand in the end."""

    state: str
    runs: int | None = 1  # how often its agent begins where no runner dies; None: it depends on when
    commits: int | None = None  # of its branch beyond main; None: it has no branch


@dataclass(frozen=True)
class Scenario:
    """A story and its end."""

    name: str
    roles: Callable[[House], None]
    steps: tuple[Step, ...]
    answers: dict[str, str]  # responses/NAME.json -> status: these and no others
    tasks: dict[str, Task]  # by ref
    rejected: tuple[str, ...] = ()  # what lies in rejected/, beside the reasons
    older_answers: dict[str, int] = field(default_factory=dict)  # plan -> answers that a retry replaced
    settings: dict[str, Any] = field(default_factory=dict)
    api: dict[str, Any] | None = None  # script of the Messages API

    def answered(self, house: House) -> bool:
        """Whether everything that was asked is answered and published to the end."""
        for name, status in self.answers.items():
            found = house.read(f"responses/{name}.json")
            if found is None or found["status"] != status:
                return False
        if any(house.state(ref) != task.state for ref, task in self.tasks.items()):
            return False
        return not any(list((house.spool / name).iterdir()) for name in ("incoming", "guidance", "control"))


# -- the parts of stories


def effects(house: House) -> str:
    """Where agents note that they began: outside the spool, where nothing of haikud's writes."""
    return str(house.root / "effects")


def agent(house: House, name: str, script: str, **front: Any) -> None:
    """A role whose agent first notes its ref and attempt."""
    house.role(name, f'echo "$HAIKUD_REF $HAIKUD_ATTEMPT" >> {effects(house)}\n{script}', **front)


def began(ref: str) -> Look:
    """The agent of that task has begun."""
    return lambda house: f"{ref} " in _text(house)


def _text(house: House) -> str:
    path = house.root / "effects"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def at_once(_house: House) -> bool:
    """Now."""
    return True


def there(name: str) -> Look:
    """That file of the spool is there."""
    return lambda house: (house.spool / name).exists()


def linked(state: str, ref: str) -> Look:
    """The task's link lies in that state's folder."""
    return lambda house: (house.spool / "tasks" / state / ref).is_symlink()


def says(name: str, status: str) -> Look:
    """That answer has that status."""
    return lambda house: (house.read(f"responses/{name}.json") or {}).get("status") == status


def drop(folder: str, name: str, content: dict[str, Any] | str = "") -> Callable[[House], None]:
    """Drop a file."""
    return lambda house: house.drop(folder, name, content)


def ask_plan(plan_id: str, *tasks: dict[str, Any]) -> Step:
    """Ask for a plan of several tasks, at once."""
    named = [{"title": f"Do {task['id']}", **task} for task in tasks]
    return Step(at_once, drop("incoming", f"{plan_id}.json", {"task_plan": {"id": plan_id, "tasks": named}}))


def ask(plan_id: str, role: str, *, when: Look = at_once, name: str | None = None, **more: Any) -> Step:
    """Ask for one task, in a file of the plan's name or another."""
    document = {"task_id": plan_id, "title": f"Do {plan_id}", "role": role, **more}
    return Step(when, drop("incoming", f"{name or plan_id}.json", document))


# -- the stories


def _git_roles(house: House) -> None:
    commit = 'test -e "$TASK_ID.txt" || { echo work > "$TASK_ID.txt"; git add . && git commit -qm "Work on $TASK_ID"; }'
    agent(house, "commits", f"sleep 0.05\n{commit}\n")
    agent(house, "leaves", 'test -e first.txt || exit 1\necho work > "$TASK_ID.txt"')


_TESTED = {"context": {"test_command": "test -s first.txt"}}

PLAN = Scenario(
    name="plan",
    roles=_git_roles,
    steps=(
        ask_plan(
            "p",
            {"id": "first", "role": "commits", "files": ["first.txt"], **_TESTED},
            {"id": "second", "role": "leaves", "files": ["second.txt"], "dependencies": ["first"], **_TESTED},
        ),
    ),
    answers={"p": "success", "p.first": "success", "p.second": "success"},
    tasks={"p.first": Task("succeeded", commits=1), "p.second": Task("succeeded", commits=2)},
)


def _asking_role(house: House) -> None:
    agent(house, "asks", '[ -n "$HAIKUD_GUIDANCE_FILE" ] || { echo "which one?"; exit 79; }', workspace="none")


QUESTION = Scenario(
    name="question",
    roles=_asking_role,
    steps=(
        ask("q", "asks"),
        Step(there("escalations/q.json"), drop("guidance", "q.txt", "the first")),
    ),
    answers={"q": "success"},
    tasks={"q": Task("succeeded", runs=2)},
)


def _sleeping_role(house: House) -> None:
    agent(house, "sleeps", "exec sleep 600", workspace="none")


CANCEL = Scenario(
    name="cancel",
    roles=_sleeping_role,
    steps=(
        ask_plan("c", {"id": "runs", "role": "sleeps"}, {"id": "waits", "role": "sleeps", "dependencies": ["runs"]}),
        Step(began("c.runs"), drop("control", "c.cancel")),
    ),
    answers={"c": "cancelled", "c.runs": "cancelled", "c.waits": "cancelled"},
    tasks={"c.runs": Task("cancelled"), "c.waits": Task("cancelled", runs=0)},
)


def _failing_roles(house: House) -> None:
    tried = f"{house.root}/tried"
    agent(house, "later", f"[ -e {tried} ] || {{ touch {tried}; exit 75; }}", workspace="none")
    agent(house, "fails", f"[ -e {house.root}/mended ] || exit 1", workspace="none")


def _mend(house: House) -> None:
    (house.root / "mended").touch()
    house.drop("control", "again.retry", "")


RETRY = Scenario(
    name="retry",
    roles=_failing_roles,
    steps=(ask("r", "later"),),
    answers={"r": "success"},
    tasks={"r": Task("succeeded", runs=2)},
)

AGAIN = Scenario(
    name="again",
    roles=_failing_roles,
    steps=(ask("again", "fails"), Step(linked("failed", "again"), _mend)),
    answers={"again": "success"},
    tasks={"again": Task("succeeded", runs=2)},
    older_answers={"again": 1},
)


def _quick_role(house: House) -> None:
    agent(house, "quick", "echo done", workspace="none")


REFUSED = Scenario(
    name="refused",
    roles=_quick_role,
    steps=(
        ask("bad", "nobody-of-that-name"),
        ask("w", "quick"),
        ask("bad", "quick", when=says("bad", "rejected")),
        ask("w", "quick", when=linked("succeeded", "w"), name="other", steps=["other"]),
        ask("w", "quick", when=linked("succeeded", "w"), name="same"),
        Step(linked("succeeded", "w"), drop("guidance", "w.txt", "nobody asked")),
        Step(linked("succeeded", "w"), drop("control", "w.cancel")),
    ),
    answers={"w": "success", "w.rejected.1": "rejected", "bad": "success"},
    tasks={"w": Task("succeeded"), "bad": Task("succeeded")},
    rejected=("bad.json", "other.json", "w.cancel", "w.txt"),
)


def _is_paused(house: House) -> bool:
    return bool((house.read("queue.json") or {}).get("paused"))


HOLD = Scenario(
    name="hold",
    roles=_quick_role,
    steps=(
        Step(at_once, drop("control", "all.pause")),
        ask("h", "quick", when=_is_paused),
        Step(linked("queued", "h"), drop("control", "h.pause")),
        Step(linked("paused", "h"), drop("control", "all.resume")),
        Step(lambda house: not _is_paused(house), drop("control", "h.resume")),
    ),
    answers={"h": "success"},
    tasks={"h": Task("succeeded")},
)

# One slot: each end and the start of the next in line are decided together, with the mark of the one before.
LINE = Scenario(
    name="line",
    roles=_quick_role,
    steps=(ask_plan("l", *({"id": name, "role": "quick"} for name in ("a", "b", "c"))),),
    answers={"l": "success", "l.a": "success", "l.b": "success", "l.c": "success"},
    tasks={ref: Task("succeeded") for ref in ("l.a", "l.b", "l.c")},
    settings={"max_agents": 1},
)

_EDIT = "grep -q sub calc.py || printf '\\n\\ndef sub(a, b):\\n    return a - b\\n' >> calc.py"
_COMMIT = f"{_EDIT}; git diff --quiet HEAD || git commit -qam 'Add sub'"


def _bash(command: str) -> dict[str, Any]:
    return {"text": "I go on.", "tools": [{"name": "bash", "input": {"command": command}}]}


def _no_roles(_house: House) -> None:
    return


# A call that was cut short is not run again: each command does what the one before it may not have done.
HAIKU = Scenario(
    name="haiku",
    roles=_no_roles,
    steps=(Step(at_once, drop("incoming", "m.json", {"task_id": "m", "title": "Add sub()", "files": ["calc.py"]})),),
    answers={"m": "success"},
    tasks={"m": Task("succeeded", runs=None, commits=1)},
    api=api_script(conversation(_bash(_EDIT), _bash(_COMMIT), _bash(_COMMIT), {"text": "Added sub()."})),
)

SCENARIOS = {one.name: one for one in (PLAN, QUESTION, CANCEL, RETRY, AGAIN, REFUSED, HOLD, LINE, HAIKU)}


def runs_of(house: House) -> list[tuple[str, int]]:
    """Every (ref, attempt) of which the agent has begun, in order."""
    lines = (line.split() for line in _text(house).splitlines())
    return [(ref, int(attempt)) for ref, attempt in lines]
