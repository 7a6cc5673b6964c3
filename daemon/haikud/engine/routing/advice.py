"""Advice on a task: whose work it looks like, on which grounds, and what the guide's checklist says. Pure.

Every ground has a weight and belongs to a row of the guide's decision matrix; a sum above 0 looks like Sonnet's. It is
a judgement from words: it warns or asks, and never refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from haikud.contracts.plan import Task
from haikud.contracts.routing import Routed, RoutingAdvice
from haikud.contracts.states import Priority
from haikud.costs.tokens import BYTES_PER_TOKEN
from haikud.engine.routing.tables import (
    CHECKLIST,
    MANY_FILES,
    MUCH_TEXT_TOKENS,
    OPEN_TYPES,
    PERFECT_FOR_HAIKU,
    PROJECT_WIDE,
    REQUIRES_SONNET,
    UNKNOWN_CAUSE,
    VAGUE_GOAL,
    Factor,
    Weight,
)
from haikud.engine.routing.wording import open_verb, read_prose

_DOCUMENT = re.compile(r"(?:^|/)(?:[^/]+\.(?:md|rst|txt|adoc)|LICENSE|CHANGELOG|README)$", re.IGNORECASE)
_MOST_GROUNDS = 12
_MOST_STEPS = 100
_MOST_WORDS = 20_000
_MENTIONED = 2  # so many names in a description are only mentioned; more make a way


@dataclass(frozen=True)
class Ground:
    """One reason. A weight above 0 speaks for Sonnet."""

    factor: Factor
    weight: int
    says: str

    def __str__(self) -> str:
        return f"{self.weight:+d} {self.says} ({self.factor})"


@dataclass(frozen=True)
class Check:
    """One line of the guide's checklist."""

    name: str
    ok: bool
    reason: str


@dataclass(frozen=True)
class Advice:
    """What routing thinks of a task. `checklist` has the guide's seven lines in its order."""

    grounds: tuple[Ground, ...]
    checklist: tuple[Check, ...]

    @property
    def score(self) -> int:
        """The grounds' weights together."""
        return sum(ground.weight for ground in self.grounds)

    @property
    def model(self) -> Routed:
        """Whose work it looks like."""
        return Routed.SONNET if self.score > 0 else Routed.HAIKU

    def record(self) -> RoutingAdvice:
        """What plan.json keeps of it."""
        return RoutingAdvice(
            model=self.model,
            score=self.score,
            grounds=[str(ground) for ground in self.grounds[:_MOST_GROUNDS]],
            unchecked=[f"{check.name}: {check.reason}" for check in self.checklist if not check.ok],
        )


def advise(task: Task, *, needs_model: bool = True) -> Advice:
    """Advice on an admitted task. `needs_model` is False for an operation of its role and for a command agent."""
    if not needs_model:
        ground = Ground(Factor.REPETITION, -9, "it runs without a model")
        reason = "it runs without a model"
        return Advice((ground,), tuple(Check(name, ok=True, reason=reason) for name in CHECKLIST))
    view = _View(task)
    judged = tuple(_judgements(view))
    grounds = sorted([*judged, *_structure(view)], key=lambda ground: -abs(ground.weight))
    return Advice(tuple(grounds), tuple(_checklist(view, judged)))


def estimate_tokens(task: Task) -> int:
    """About how many tokens the assignment's own words are: four bytes each."""
    words = [task.title, task.description, *task.steps, *task.tests, *task.success_criteria]
    paths = [spec.path for spec in task.files] + task.context.files
    extra = str(task.context.extra) + str(task.params)
    return sum(len(text.encode(errors="replace")) for text in [*words, *paths, extra]) // BYTES_PER_TOKEN


class _View:
    """A task's words, read once. Of very many steps only the first are read."""

    def __init__(self, task: Task) -> None:
        self.task = task
        words = task.operation if task.operation and " " in task.operation else ""
        self.title = read_prose(task.title if not words or words == task.title else f"{task.title}. {words}")
        description = read_prose(task.description)
        steps = [read_prose(step) for step in task.steps[:_MOST_STEPS]]
        self.body = [description, *steps]
        self.words = " . ".join(prose.words for prose in self.body)[:_MOST_WORDS]
        self.haiku_type = next((one for one in PERFECT_FOR_HAIKU if one.pattern.match(self.title.words)), None)
        exact = sum(step.is_exact for step in steps)
        # Steps as a list, most of them exact; or a description that goes from name to name.
        stepwise = len(steps) > 1 or exact > 0
        self.has_exact_steps = exact * 2 >= len(steps) if stepwise else description.names > _MENTIONED

    @property
    def is_whole(self) -> bool:
        """Whether its type says all there is to say: running tests needs no files and no steps."""
        return self.haiku_type is not None and self.haiku_type.whole

    @property
    def changes_only_documents(self) -> bool:
        """Whether all that it declares is prose, which no test can check."""
        return bool(self.task.files) and all(_DOCUMENT.search(spec.path) for spec in self.task.files)


def _judgements(view: _View) -> Iterable[Ground]:
    """What asks for thinking, wherever the words stand."""
    yield from _open_work(view)
    yield from _sonnet_types(view)
    everything = f"{view.title.words} . {view.words}"
    for pattern, factor, weight, says in (
        (UNKNOWN_CAUSE, Factor.COMPLEXITY, Weight.UNKNOWN_CAUSE, "something is not known yet"),
        (PROJECT_WIDE, Factor.CONTEXT, Weight.PROJECT_WIDE, "it reaches through the project"),
    ):
        found = _first(pattern, everything)
        if found:
            yield Ground(factor, weight, f"{says}: {found!r}")
    found = _first(VAGUE_GOAL, view.title.words)
    if found:
        yield Ground(Factor.COMPLEXITY, Weight.VAGUE_TITLE, f"nobody can check {found!r}")
    elif found := _first(VAGUE_GOAL, view.words):
        yield Ground(Factor.COMPLEXITY, Weight.VAGUE_BODY, f"nobody can check {found!r}")


def _first(pattern: re.Pattern[str], words: str) -> str | None:
    """The first words that the pattern finds, shortened."""
    found = pattern.search(words)
    return " ".join(found[0].split()[:6]) if found else None


def _open_work(view: _View) -> Iterable[Ground]:
    opened = open_verb(view.title.words)
    if opened:
        yield Ground(Factor.DECISIONS, Weight.OPEN_TITLE, f"the title asks for a judgement: {opened!r}")
    if view.task.type.lower() in OPEN_TYPES:
        yield Ground(Factor.DECISIONS, Weight.OPEN_TYPE, f"its type is {view.task.type.lower()}")
    found = [clause for prose in view.body if (clause := open_verb(prose.words))]
    left = Weight.OPEN_BODY_MOST
    for clause in found:
        if left > 0:
            yield Ground(Factor.DECISIONS, Weight.OPEN_BODY, f"a judgement is asked for: {clause!r}")
        left -= Weight.OPEN_BODY


def _sonnet_types(view: _View) -> Iterable[Ground]:
    left = Weight.SONNET_BODY_MOST
    for one in REQUIRES_SONNET:
        factor = Factor.REPETITION if one.group == "creative_work" else Factor.COMPLEXITY
        found = _first(one.pattern, view.title.words)
        weight = Weight.SONNET_TITLE
        if not found:
            found, weight = _first(one.pattern, view.words), min(Weight.SONNET_BODY, left)
            left -= weight if found else 0
        if one.name == "Documentation writing":
            weight = min(weight, Weight.DOCUMENTATION)
        if found and weight > 0:
            yield Ground(factor, weight, f"{one.name}: {found!r}")


def _structure(view: _View) -> Iterable[Ground]:
    """What is given, and what is missing."""
    task, declared = view.task, len(view.task.files)
    if view.haiku_type is not None:
        yield Ground(Factor.REPETITION, Weight.HAIKU_TYPE, f"{view.haiku_type.group}: {view.haiku_type.name}")
    if declared > MANY_FILES:
        yield Ground(Factor.CONTEXT, Weight.MANY_FILES, f"{declared} files are declared")
    elif declared:
        yield Ground(Factor.CONTEXT, Weight.FILES, f"its files are named: {declared}")
    elif not view.is_whole and task.workspace != "none":
        yield Ground(Factor.CONTEXT, Weight.NO_FILES, "no file is named")
    if estimate_tokens(task) > MUCH_TEXT_TOKENS:
        yield Ground(Factor.CONTEXT, Weight.MUCH_TEXT, f"it brings about {estimate_tokens(task)} tokens of text")
    if view.has_exact_steps:
        yield Ground(Factor.COMPLEXITY, Weight.EXACT_STEPS, "its steps name what they mean")
    elif task.steps:
        yield Ground(Factor.COMPLEXITY, Weight.PLAIN_STEPS, f"it has steps: {len(task.steps)}")
    elif view.haiku_type is None:
        yield Ground(Factor.COMPLEXITY, Weight.NO_STEPS, "it has no steps")
    yield from _measures(view)
    if task.priority in {Priority.BLOCKER, Priority.CRITICAL}:
        yield Ground(Factor.SPEED, Weight.SPEED, f"its priority is {task.priority}")


def _measures(view: _View) -> Iterable[Ground]:
    task = view.task
    given = []
    if task.tests:
        given.append(Ground(Factor.ERRORS, Weight.TESTS, "its tests are named"))
    if task.success_criteria:
        given.append(Ground(Factor.COMPLEXITY, Weight.CRITERIA, "it says when it is done"))
    if task.context.test_command:
        given.append(Ground(Factor.ERRORS, Weight.TEST_COMMAND, "a test command measures it"))
    knows_the_way = bool(task.steps) or view.has_exact_steps or view.haiku_type is not None
    yield from given if knows_the_way else given[:1]  # to know the end is not to know the way there
    if not (task.tests or task.success_criteria or view.haiku_type):
        yield Ground(Factor.COMPLEXITY, Weight.NO_CRITERIA, "it does not say when it is done")


def _checklist(view: _View, judged: Sequence[Ground]) -> Iterable[Check]:
    """The guide's seven lines. The environment is looked at by `haikud check`; here it is what admission saw."""
    task = view.task
    for name, (ok, reason) in zip(
        CHECKLIST,
        (
            _well_defined(view, judged),
            _files(view),
            _criteria(view),
            _tests(view),
            _decisions(judged),
            _dependencies(task),
            (True, "the repository is there" if task.repository else "it needs no repository"),
        ),
        strict=True,
    ):
        yield Check(name, ok, reason)


def _well_defined(view: _View, judged: Sequence[Ground]) -> tuple[bool, str]:
    vague = next((ground.says for ground in judged if ground.factor is Factor.COMPLEXITY), None)
    if vague:
        return False, vague
    if view.has_exact_steps:
        return True, "the steps name what they mean"
    if view.task.steps:
        return True, f"{len(view.task.steps)} step(s) are given"
    if view.haiku_type is not None:
        return True, f"{view.haiku_type.name} needs no more words"
    return False, "say in `steps` what is to be done, by name"


def _files(view: _View) -> tuple[bool, str]:
    paths = [spec.path for spec in view.task.files]
    open_ended = [path for path in paths if path.endswith("/") or "*" in path]
    if open_ended:
        return False, f"{open_ended[0]} is not one file"
    if paths:
        return True, f"{len(paths)} named: {', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}"
    if view.is_whole or view.task.workspace == "none":
        return True, "it changes none"
    return False, "name them in `files`"


def _criteria(view: _View) -> tuple[bool, str]:
    task = view.task
    if task.success_criteria:
        return True, task.success_criteria[0]
    if task.tests:
        return True, "its tests say it"
    if view.haiku_type is not None:
        return True, f"{view.haiku_type.name}: the title says it"
    return False, "say in `success_criteria` when it is done"


def _tests(view: _View) -> tuple[bool, str]:
    task = view.task
    if task.tests:
        return True, f"{len(task.tests)} named"
    if task.context.test_command:
        return True, f"by the test command: {task.context.test_command}"
    if view.is_whole or view.changes_only_documents or task.workspace == "none":
        return True, "it changes nothing that tests could see"
    return False, "name them in `tests`, or give a `test_command`"


def _decisions(judged: Sequence[Ground]) -> tuple[bool, str]:
    if not judged:
        return True, "no word of it asks for a judgement"
    return False, max(judged, key=lambda ground: ground.weight).says


def _dependencies(task: Task) -> tuple[bool, str]:
    if not task.dependencies:
        return True, "none"
    return True, f"after {', '.join(task.dependencies)} of its plan; the daemon keeps the order"
