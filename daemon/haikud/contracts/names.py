"""How plans and tasks are named, with the standard library alone.

`haikud status` and a runner that is just starting need these rules and cannot wait for pydantic; the types that
pydantic checks stand in `ids.py`.
"""

from __future__ import annotations

import re

ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
"""What a stated plan or task id must match. No dot, so that `PLAN.TASK` has one reading."""

REF = rf"{ID}(\.{ID})?"
"""A task ref: `PLAN.TASK` or `PLAN`."""

RESERVED_IDS = frozenset({"all", "lock"})
"""`all` is the whole queue in control files; a branch must not end in `.lock`."""

_ID = re.compile(ID)


def is_usable_id(text: str) -> bool:
    """Whether `text` may be stated as an id; nothing is ever cleaned into one."""
    return _ID.fullmatch(text) is not None and text not in RESERVED_IDS


def id_from_stem(stem: str) -> str:
    """An id for a request that states none, from its file's stem: other characters become `-`."""
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:90] or "request"
    if not cleaned[0].isalnum():
        cleaned = f"r{cleaned}"
    return f"{cleaned}-1" if cleaned in RESERVED_IDS else cleaned


def task_ref(plan_id: str, task_id: str, *, only_task: bool) -> str:
    """`PLAN.TASK`, or just `PLAN` where the plan's only task bears the plan's own id."""
    return plan_id if only_task and task_id == plan_id else f"{plan_id}.{task_id}"


def split_ref(ref: str) -> tuple[str, str]:
    """The plan id and task id of a task ref."""
    plan_id, _, task_id = ref.partition(".")
    return plan_id, task_id or plan_id
