"""The board: every open task and its plan, in memory. What is on it is what the disk says; it can be thrown away.

Only the daemon's loop changes it, and only after the decision that justifies the change is durable. Final tasks leave
it with their last link move; a plan leaves it with its last task.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from haikud.contracts.attempt import EndOrder
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.evidence import Evidence
from haikud.contracts.ids import split_ref
from haikud.contracts.intervention import Intervention
from haikud.contracts.live import TaskStatus
from haikud.contracts.plan import Plan, Task
from haikud.contracts.states import TaskState
from haikud.contracts.usage import UsageTotal
from haikud.engine.launchers.protocol import Handle
from haikud.engine.monitors.watch import Watch
from haikud.engine.plan_shelf import KeptPlan, PlanShelf
from haikud.engine.policy import VANISHED
from haikud.engine.scheduler import NO_FILES, Candidate, Line

FINISHED_LATELY = 50
"""So many finished tasks stay in status.json."""


@dataclass
class OrderedEnd:
    """The engine has ordered a running attempt to end."""

    order: EndOrder
    reason: str
    token: str | None = None  # of the control file that asked for it
    kill_at: float | None = None  # monotonic seconds; None: KILL has been sent


@dataclass(frozen=True)
class Published:
    """The answers of a task that lie in responses/."""

    response: Response
    plan: Response | None  # where the task was the plan's last


@dataclass
class Progress:
    """What the running attempt has reported so far."""

    offset: int = 0  # in events.jsonl
    phase: str | None = None
    percent: int | None = None
    message: str = ""
    cost_usd: float = 0.0
    sonnet_cost_usd: float = 0.0  # the same requests at Sonnet's prices
    tokens_used: int = 0
    model: str | None = None  # that it called last
    is_behind: bool = False  # there is more in events.jsonl than was read at once
    watch: Watch = field(default=Watch(), compare=False)


@dataclass(slots=True, eq=False)
class OpenTask:
    """A task that is not final, or whose answer is still being published.

    What picking and status need stands here; the plan may be packed (plan_shelf.py), and is unpacked for what it is
    asked. There may be ten thousand of these: each field counts.
    """

    owner: OpenPlan
    place: int  # in its plan
    ref: str
    decision: Decision
    candidate: Candidate
    role: str  # of the newest attempt
    title: str
    branch: str | None
    spent_usd: float = 0.0  # by attempts that have ended
    spent_sonnet_usd: float = 0.0  # the same requests at Sonnet's prices
    spent_tokens: int = 0
    model: str | None = None  # of the newest attempt; "" where it calls none, None before the first
    handle: Handle | None = None
    # Nobody of the running attempt is older, but a runner forked ahead: in clock ticks since boot. None: not known.
    born: int | None = None
    ends_at: float | None = None  # the running attempt's time limit, monotonic seconds
    grace_seconds: float = 0.0
    ordered_end: OrderedEnd | None = None
    pause_token: str | None = None  # a pause that the running attempt has not carried out yet
    intervention: Intervention | None = None  # ordered by a monitor, and not carried out yet
    seen: tuple[Intervention, ...] = ()  # what monitors saw in the running attempt
    told_files: frozenset[str] = frozenset()  # changed undeclared, as the ledger was told
    published: Published | None = None  # its answer lies in responses/, and its link is to be moved
    linked: TaskState | None = None  # where its link was when it became final; None: not known
    evidence: Evidence | None = None  # measured by the engine, where the runner died before it could
    is_asked: bool = False  # its open question lies in escalations/
    raised: int = 0  # how often it was put there again since
    raised_at: datetime | None = None  # when it was put there last
    lost: str = ""  # why nothing is known of its attempts any more, if so
    waits_for: str | None = None  # the running task whose declared file holds it back, as the ledger was told
    _progress: Progress | None = None

    def forget_attempt(self) -> None:
        """What held for the last attempt while it ran holds no longer."""
        self.ordered_end = None
        self.pause_token = None
        self.born = None
        self.ends_at = None
        self._progress = None
        self.intervention = None
        self.seen = ()

    @property
    def plan(self) -> Plan:
        """Its plan."""
        return self.owner.plan

    @property
    def task(self) -> Task:
        """What the plan says of it."""
        return self.owner.plan.tasks[self.place]

    @property
    def progress(self) -> Progress:
        """What the running attempt has reported so far."""
        if self._progress is None:
            self._progress = Progress()
        return self._progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def progress_so_far(self) -> Progress | None:
        """The same; None where there was none yet."""
        return self._progress

    @property
    def state(self) -> TaskState:
        """Where it is."""
        return self.decision.state


class OpenPlan:
    """A plan with at least one open task."""

    __slots__ = (
        *("_kept", "admitted_at", "changes", "id", "open_tasks", "refs"),
        *("sonnet_usd", "spent_usd", "states", "title"),
    )

    def __init__(
        self, plan: Plan, states: dict[str, TaskState], shelf: PlanShelf | None = None, packed: bytes | None = None
    ) -> None:
        self._kept = KeptPlan(plan, shelf, packed)
        self.id = plan.id
        self.admitted_at = plan.admitted_at
        self.title = _title(plan)
        self.refs = tuple(task.ref for task in plan.tasks)
        self.states = states  # of every task of the plan, by task id
        self.open_tasks = 0  # how many are on the board
        self.changes = 0  # how often a task of it has moved, or its money was counted
        self.spent_usd: dict[str, float] = {}  # by task id, of those that have spent something
        self.sonnet_usd: dict[str, float] = {}  # the same

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self._kept.plan

    @property
    def is_packed(self) -> bool:
        """Whether it takes little room just now."""
        return self._kept.is_packed

    def leave(self) -> None:
        """It is off the board."""
        self._kept.leave()

    @property
    def cost_usd(self) -> float:
        """What its attempts that have ended spent."""
        return sum(self.spent_usd.values())

    @property
    def sonnet_cost_usd(self) -> float:
        """The same requests at Sonnet's prices."""
        return sum(self.sonnet_usd.values())


class Board:
    """Open tasks by ref and by state."""

    def __init__(self) -> None:
        self.tasks: dict[str, OpenTask] = {}
        self.plans: dict[str, OpenPlan] = {}
        self.line = Line()  # the queued tasks
        self.touched: set[str] = set()  # plans whose waiting tasks are to be looked at again
        self.finished: deque[TaskStatus] = deque(maxlen=FINISHED_LATELY)
        self.finished_counts: dict[TaskState, int] = {}
        self.finished_before: dict[str, TaskStatus] = {}  # by ref: tasks of open plans, when this daemon began
        self.spending: dict[str, OpenPlan] = {}  # those of the plans that have spent something
        self.fresh: Counter[str] = Counter()  # role -> how many open tasks of it were not tried yet
        self.begun: dict[str, OpenTask] = {}  # the open tasks that were tried
        self._by_state: dict[TaskState, dict[str, OpenTask]] = {state: {} for state in TaskState}
        self._answered: dict[str, OpenTask] = {}  # the queued tasks that somebody has answered
        self._shelf = PlanShelf()

    def add_plan(
        self, plan: Plan, states: dict[str, TaskState], used: Mapping[str, UsageTotal], *, packed: bytes | None = None
    ) -> None:
        """Put a plan on the board; its open tasks follow by `add_task`. Both dicts are by task id."""
        before = self.plans.get(plan.id)
        owner = OpenPlan(plan, dict(states), self._shelf, packed)
        if before is not None:
            owner.open_tasks, owner.changes = before.open_tasks, before.changes + 1
        self.plans[plan.id] = owner
        for task_id, one in used.items():
            self.count_money(owner, task_id, one.cost_usd, one.sonnet_cost_usd)

    def count_money(self, owner: OpenPlan, task_id: str, usd: float, sonnet_usd: float) -> None:
        """What the ended attempts of one of a plan's tasks have spent by now."""
        if usd or sonnet_usd:
            owner.spent_usd[task_id], owner.sonnet_usd[task_id] = usd, sonnet_usd
            owner.changes += 1
            self.spending[owner.id] = owner

    def add_task(
        self, plan: Plan, task: Task, decision: Decision, *, tokens: int = 0, model: str | None = None
    ) -> OpenTask:
        """Put one task of a plan that is on the board on it."""
        owner, candidate = self.plans[plan.id], candidate_of(plan, task)
        entry = OpenTask(
            owner=owner,
            place=candidate.rank[-1],
            ref=task.ref,
            decision=decision,
            candidate=candidate,
            role=decision.role or task.role,
            title=task.title,
            branch=task.branch,
            spent_usd=owner.spent_usd.get(task.id, 0.0),
            spent_sonnet_usd=owner.sonnet_usd.get(task.id, 0.0),
            spent_tokens=tokens,
            model=model,
        )
        if task.ref not in self.tasks:
            owner.open_tasks += 1
        self.tasks[task.ref] = entry
        self._forget_finished(task.ref)
        self.finished_before.pop(task.ref, None)
        owner.states[task.id] = decision.state
        self._enter(entry)
        return entry

    def move(self, entry: OpenTask, decision: Decision) -> None:
        """The task has a new decision, which is durable."""
        self._leave(entry)
        if decision.state is TaskState.QUEUED and _comes_again(entry.decision, decision):
            priority, _, plan_id, place = entry.candidate.rank
            entry.candidate = replace(entry.candidate, rank=(priority, decision.at, plan_id, place))
        entry.decision, entry.published, entry.linked = decision, None, None  # what was published was of the last one
        self.plans[entry.owner.id].states[split_ref(entry.ref)[1]] = decision.state
        self._enter(entry)

    def remove(self, entry: OpenTask, last: TaskStatus) -> None:
        """A final task leaves, and has finished."""
        self.take_off(entry)
        self.finished.appendleft(last)
        self.finished_counts[entry.state] = self.finished_counts.get(entry.state, 0) + 1

    def take_off(self, entry: OpenTask) -> None:
        """A task leaves; its plan with it, where it was the last."""
        self._leave(entry)
        del self.tasks[entry.ref]
        owner = self.plans[entry.owner.id]
        owner.open_tasks -= 1
        if owner.open_tasks == 0:
            owner.leave()
            entry.owner.leave()
            del self.plans[owner.id]
            self.spending.pop(owner.id, None)
            for ref in [ref for ref, task in self.finished_before.items() if task.plan == owner.id]:
                del self.finished_before[ref]

    def add_finished_before(self, task: TaskStatus) -> None:
        """A task of an open plan had finished when this daemon began: shown with its plan, and not counted."""
        if len(self.finished_before) < FINISHED_LATELY:
            self.finished_before[task.ref] = task

    def _forget_finished(self, ref: str) -> None:
        """A task that is retried has not finished: it is neither shown nor counted as that."""
        for old in [task for task in self.finished if task.ref == ref]:
            self.finished.remove(old)
            self.finished_counts[TaskState(old.state)] -= 1

    def forget_pruned(self, is_pruned: Callable[[str], bool]) -> None:
        """Finished tasks of plans that are gone: neither shown nor counted any more."""
        gone = {plan for plan in {task.plan for task in self.finished} - self.plans.keys() if is_pruned(plan)}
        for ref in [task.ref for task in self.finished if task.plan in gone]:
            self._forget_finished(ref)

    def in_state(self, state: TaskState) -> list[OpenTask]:
        """The tasks in that state, in the order in which they came into it."""
        return list(self._by_state[state].values())

    def count(self, state: TaskState) -> int:
        """How many open tasks are in that state."""
        return len(self._by_state[state])

    def first_in_state(self, state: TaskState, most: int) -> list[OpenTask]:
        """The first of them."""
        return list(islice(self._by_state[state].values(), most))

    def line_of_answered(self) -> Line:
        """The queued tasks that somebody has answered, in a line of their own."""
        return Line(entry.candidate for entry in self._answered.values())

    def open_tasks_of(self, plan_id: str) -> list[OpenTask]:
        """The open tasks of a plan, in its order."""
        owner = self.plans.get(plan_id)
        return [self.tasks[ref] for ref in owner.refs if ref in self.tasks] if owner else []

    def running_usd(self, plan_id: str) -> float:
        """What a plan's running attempts have spent so far."""
        running = self._by_state[TaskState.RUNNING].values()
        return sum(entry.progress.cost_usd for entry in running if entry.owner.id == plan_id)

    def _enter(self, entry: OpenTask) -> None:
        self._by_state[entry.state][entry.ref] = entry
        self.plans[entry.owner.id].changes += 1
        if entry.decision.attempt:
            self.begun[entry.ref] = entry
        else:
            self.fresh[entry.role] += 1
        if entry.state is TaskState.QUEUED:
            self.line.add(entry.candidate)
            if entry.decision.guidance is not None:
                self._answered[entry.ref] = entry

    def _leave(self, entry: OpenTask) -> None:
        self._by_state[entry.state].pop(entry.ref, None)
        self.plans[entry.owner.id].changes += 1
        if self.begun.pop(entry.ref, None) is None:
            self.fresh[entry.role] -= 1
        if entry.state is TaskState.QUEUED:
            self.line.remove(entry.candidate)
            self._answered.pop(entry.ref, None)


def _comes_again(before: Decision, now: Decision) -> bool:
    """Whether an attempt has failed, or was stopped by a limit, and the task is queued anew.

    It then lines up behind those of its priority that wait already: a task that always fails must not come before
    others each time. After a restart age decides again, once.
    """
    return before.state is TaskState.DEFERRED or (before.state is TaskState.RUNNING and now.outcome in VANISHED)


def candidate_of(plan: Plan, task: Task) -> Candidate:
    """What scheduling needs to know of a task."""
    place = next(index for index, one in enumerate(plan.tasks) if one.id == task.id)
    return Candidate(
        ref=task.ref,
        rank=(task.priority.rank, plan.admitted_at, plan.id, place),
        repository=sys.intern(task.repository.git_common_dir) if task.repository else None,
        files=frozenset(spec.path for spec in task.files) if task.workspace == "worktree" and task.files else NO_FILES,
    )


def _title(plan: Plan) -> str:
    """What the requester called the plan: its metadata's title, or its only task's."""
    stated = plan.metadata.get("title")
    if isinstance(stated, str):
        return stated
    return plan.tasks[0].title if len(plan.tasks) == 1 else ""
