"""What the storm asks for, and what must become of it: plans, tasks and trouble, all from one seed. Pure."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from enum import StrEnum

import yaml


class Kind(StrEnum):
    """What a task's agent does."""

    WORKS = "works"
    BUILT_IN = "built-in"  # the built-in agent; its model is scripted
    ASKS = "asks"  # escalates until it is answered
    FALTERS = "falters"  # ends with EX_TEMPFAIL once
    FAILS = "fails"


@dataclass(frozen=True)
class AskedTask:
    """A task as the storm asks for it."""

    plan_id: str
    id: str
    kind: Kind
    steps: int  # commits on its branch, one file each
    dependencies: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """Its ref."""
        return self.plan_id if self.id == self.plan_id else f"{self.plan_id}.{self.id}"

    @property
    def marks(self) -> list[str]:
        """The subjects of its commits, which are also what its files say."""
        return [f"{self.ref} step {step}" for step in range(1, self.steps + 1)]


@dataclass(frozen=True)
class AskedPlan:
    """A request that is to be admitted."""

    id: str
    repository: int  # which of the storm's repositories
    tasks: tuple[AskedTask, ...]
    cancelled: tuple[str, ...] = ()  # refs or the plan's id: a cancel is dropped for them at some time
    paused: tuple[str, ...] = ()  # a pause, and a resume a little later
    twice: bool = False  # the same content is dropped again
    as_yaml: bool = False

    def document(self, repositories: list[str]) -> tuple[str, bytes]:
        """The request's file name and content."""
        context = {"repository": repositories[self.repository]}
        tasks = [_task_document(task) for task in self.tasks]
        if len(tasks) == 1 and self.tasks[0].id == self.id:
            body: dict[str, object] = {**tasks[0], "task_id": self.id, "context": context}
            del body["id"]
        else:
            body = {"task_plan": {"id": self.id, "tasks": tasks, "context": context}}
        if self.as_yaml:
            return f"{self.id}.yaml", yaml.safe_dump(body, sort_keys=False).encode()
        return f"{self.id}.json", json.dumps(body).encode()


@dataclass(frozen=True)
class BadRequest:
    """A request that must be rejected, and the name of its answer in responses/."""

    name: str
    content: bytes
    answer: str


@dataclass(frozen=True)
class Script:
    """All of a storm."""

    plans: list[AskedPlan]
    bad: list[BadRequest] = field(default_factory=list)

    @property
    def tasks(self) -> list[AskedTask]:
        """All tasks, in the order of their plans."""
        return [task for plan in self.plans for task in plan.tasks]


def write_script(dice: random.Random, *, tag: str, plans: int, tasks: int, repositories: int = 3) -> Script:
    """A storm of so many plans and tasks. `tag` begins every id, so that two storms cannot be taken for each other."""
    sizes = _split(dice, tasks, plans)
    made = [
        _plan(dice, f"{tag}-p{number:03d}", dice.randrange(repositories), size) for number, size in enumerate(sizes)
    ]
    return Script(made, _bad_requests(tag, made, max(3, plans // 10)))


def _split(dice: random.Random, total: int, parts: int) -> list[int]:
    sizes = [1] * parts
    for _ in range(total - parts):
        sizes[dice.randrange(parts)] += 1
    return sizes


def _plan(dice: random.Random, plan_id: str, repository: int, size: int) -> AskedPlan:
    tasks: list[AskedTask] = []
    for number in range(size):
        kind = dice.choices(list(Kind), weights=[76, 10, 6, 6, 2])[0]
        steps = dice.randint(1, 3)
        task_id = plan_id if size == 1 and dice.random() < 0.5 else f"t{number}x{steps}"
        if task_id == plan_id:
            task_id = plan_id = f"{plan_id}x{steps}"
        before = [task.id for task in tasks]
        wanted = dice.choices([0, 1, 2], weights=[60, 30, 10])[0]
        dependencies = tuple(dice.sample(before, min(wanted, len(before))))
        tasks.append(AskedTask(plan_id, task_id, kind, steps, dependencies))
    cancelled = paused = ()
    fate = dice.random()
    if fate < 0.05:
        cancelled = (plan_id,)
    elif fate < 0.17:
        cancelled = (dice.choice(tasks).ref,)
    elif fate < 0.37:
        paused = (plan_id,) if dice.random() < 0.6 else (dice.choice(tasks).ref,)
    return AskedPlan(
        plan_id,
        repository,
        tuple(tasks),
        cancelled,
        paused,
        twice=dice.random() < 0.15,
        as_yaml=dice.random() < 0.2,
    )


def _task_document(task: AskedTask) -> dict[str, object]:
    document: dict[str, object] = {
        "id": task.id,
        "title": f"Storm {task.ref}",
        "files": [f"markers/{task.ref}/{step}" for step in range(1, task.steps + 1)],
    }
    if task.kind is not Kind.BUILT_IN:
        document["role"] = task.kind.value
    if task.dependencies:
        document["dependencies"] = list(task.dependencies)
    return document


def _bad_requests(tag: str, plans: list[AskedPlan], number: int) -> list[BadRequest]:
    bad: list[BadRequest] = []
    for n in range(number):
        name = f"{tag}-bad{n}"
        if n % 3 == 0:
            bad.append(BadRequest(f"{name}.json", b'{"task_plan": {"id": "' + name.encode(), f"{name}.json"))
        elif n % 3 == 1:
            tasks = [{"id": "a", "title": "A", "dependencies": ["nobody"]}]
            content = json.dumps({"task_plan": {"id": name, "tasks": tasks}}).encode()
            bad.append(BadRequest(f"{name}.json", content, f"{name}.json"))
        else:  # an id that another request has already
            used = plans[n % len(plans)].id
            content = json.dumps({"task_id": used, "title": f"Not what {used} was"}).encode()
            bad.append(BadRequest(f"{name}.json", content, f"{used}.rejected.1.json"))
    return bad
