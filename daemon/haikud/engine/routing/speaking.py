"""When routing speaks, and what it says: a warning at admission, or a question before the first token is spent.

It is silent where there is no model to choose (an operation of the role, a command), where a plan or an answer names
the model, and where the model that will run is no Haiku anyway.
"""

from __future__ import annotations

import contextlib

from haikud.contracts.attempt import Question, ResolvedRole
from haikud.contracts.decision import Decision
from haikud.contracts.plan import Task
from haikud.contracts.routing import Routed, RoutingAdvice
from haikud.contracts.settings import Settings
from haikud.engine.routing.advice import Advice, advise
from haikud.roles.catalogue import UnknownModel, resolve_model
from haikud.roles.files import RoleFile

_TOLD = 3
"""Grounds in a warning."""

_LONGEST = 400
"""Characters of a warning."""


def needs_model(task: Task, role: RoleFile) -> bool:
    """Whether a model will work on the task: an operation of its role and a command need none."""
    return role.command is None and not (task.operation is not None and task.operation in role.operations)


def advice_for(task: Task, role: RoleFile) -> Advice | None:
    """Advice on a task of that role; None where there is no model to choose."""
    return advise(task) if needs_model(task, role) else None


def is_open(task: Task, role: RoleFile, settings: Settings) -> bool:
    """Whether Haiku will do the task by default and not by the plan's own word."""
    return task.model is None and needs_model(task, role) and _is_haiku(_model_of(role, settings), settings)


def warning_of(task: Task, advice: Advice, role: RoleFile, settings: Settings) -> str | None:
    """One line on a task that looks like Sonnet's though Haiku is to do it; None for any other."""
    if advice.model is not Routed.SONNET or not is_open(task, role, settings):
        return None
    grounds = [ground.says for ground in advice.grounds if ground.weight > 0]
    more = f"; and {len(grounds) - _TOLD} more" if len(grounds) > _TOLD else ""
    said = f"routing: {task.ref} looks like Sonnet's: {'; '.join(grounds[:_TOLD])}{more}"
    return f"{said[:_LONGEST]} (`model` names one; `haikud check` says all)"


def question_before_start(task: Task, decision: Decision, role: ResolvedRole, settings: Settings) -> Question | None:
    """What to ask before the first attempt of a task that looks like Sonnet's; None where there is nothing to ask.

    Asked once: a question that was asked shows in the decision, and so does an answer that names a model.
    """
    advice = task.advice
    if settings.routing != "escalate" or advice is None or advice.model is not Routed.SONNET:
        return None
    if decision.attempt > 0 or decision.escalation is not None or task.model is not None or decision.model is not None:
        return None
    if role.command is not None or task.operation in role.operations or not _is_haiku(role.model, settings):
        return None
    return Question(
        reason=reason_of(advice),
        blocker="Routing asks before a token is spent: is this Haiku's work?",
        context=[*advice.grounds, *(f"not checked: {one}" for one in advice.unchecked)],
        options=[
            "Answer with any words: it runs on Haiku, and they are its first guidance",
            'Answer {"action": "reassign", "model": "sonnet"}: it runs on Sonnet',
            'Answer {"action": "cancel"}, and drop a plan that says more',
        ],
        recommendation="Reassign it to Sonnet, or cancel it and name files, steps, tests and when it is done",
    )


def reason_of(advice: RoutingAdvice) -> str:
    """Why a task is handed back, in one line."""
    return (
        f"routing: it looks like Sonnet's work (score {advice.score:+d}): {advice.grounds[0] if advice.grounds else ''}"
    )


def _model_of(role: RoleFile, settings: Settings) -> str:
    """The model that the role will run with, as when its attempt starts."""
    if role.model:
        with contextlib.suppress(UnknownModel):
            return resolve_model(role.model, settings.models)
    with contextlib.suppress(UnknownModel):
        return resolve_model(settings.default_model, settings.models)
    return settings.default_model


def _is_haiku(model: str, settings: Settings) -> bool:
    """Whether a model is the cheap one: what the settings call haiku, or a name that says so."""
    return model == settings.models.get("haiku") or "haiku" in model.lower()
