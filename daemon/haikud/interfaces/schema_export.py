"""JSON Schemas from the contracts: one file for every kind of file in a spool, for editors and other languages.

The bytes depend on the contracts alone: keys are sorted but for the heads, and nothing of the machine goes in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from haikud.contracts.attempt import (
    AgentProgress,
    AgentReport,
    Assignment,
    AttemptEvent,
    Orders,
    Result,
    RunnerIdentity,
    Spec,
)
from haikud.contracts.completion import CompletionPayload, EscalationPayload, PlanCompletionPayload
from haikud.contracts.day_record import DayRecord
from haikud.contracts.decision import Decision, QueueState
from haikud.contracts.envelope import Envelope, Response
from haikud.contracts.error_report import ErrorReport
from haikud.contracts.evidence import Evidence
from haikud.contracts.format import SpoolFormat
from haikud.contracts.guidance import DroppedGuidance, Guidance
from haikud.contracts.issue import Issue
from haikud.contracts.ledger import LedgerEntry
from haikud.contracts.live import LiveStatus
from haikud.contracts.owner import Owner
from haikud.contracts.plan import Plan
from haikud.contracts.rejection import SetAside
from haikud.contracts.requests import Request
from haikud.contracts.role_history import RoleHistoryRecord
from haikud.contracts.settings import Settings
from haikud.contracts.tombstone import Tombstone
from haikud.contracts.transcript import TranscriptLine

SCHEMAS: dict[str, tuple[str, Any]] = {
    "agent-progress": ("A line of out/events.jsonl, which an agent may append", AgentProgress),
    "agent-report": ("out/result.json, which an agent may write", AgentReport),
    "assignment": ("TASK_PLAN_FILE: what an agent is given", Assignment),
    "day-spend": ("day-spend.json: what was spent today", DayRecord),
    "role-history": ("role-history.json: what the last finished tasks of each role took", RoleHistoryRecord),
    "decision": ("decision-NNNN.json: the engine's word on a task", Decision),
    "dropped-guidance": ("guidance/REF.json: an answer, as you drop it", DroppedGuidance),
    "envelope": ("The message envelope", Envelope),
    "error-report": ("payload.error_report", ErrorReport),
    "escalation": ("The payload of escalations/REF.json", EscalationPayload),
    "event": ("A line of an attempt's events.jsonl", AttemptEvent),
    "evidence": ("payload.evidence: what was measured", Evidence),
    "format": ("FORMAT", SpoolFormat),
    "guidance": ("guidance-NNNN.json: an answer that was taken", Guidance),
    "issue": ("issues/N.json", Issue),
    "ledger-entry": ("A line of ledger.jsonl", LedgerEntry),
    "orders": ("orders.json: pause and end, for a runner", Orders),
    "owner": ("GIT_COMMON_DIR/haikud/owners/REF.json: whose a branch and its worktree are", Owner),
    "plan": ("plan.json: a request after normalising", Plan),
    "plan-completion": ("The payload of a plan's response", PlanCompletionPayload),
    "queue-state": ("queue.json: whether the queue is paused", QueueState),
    "request": ("A file in incoming/: any of the five shapes", Request),
    "response": ("responses/ID.json", Response),
    "result": ("result.json: what an attempt reports", Result),
    "runner": ("runner.json: who holds a claim", RunnerIdentity),
    "set-aside": ("rejected/NAME.reason.json", SetAside),
    "settings": ("haikud.yaml", Settings),
    "spec": ("spec.json: the engine's order for an attempt", Spec),
    "status": ("status.json: the live picture", LiveStatus),
    "task-completion": ("The payload of a task's response", CompletionPayload),
    "tombstone": ("plans/.pruned/PLAN: what stays of a pruned plan", Tombstone),
    "transcript-line": ("A line of transcript.jsonl: the built-in agent's turns", TranscriptLine),
}
"""File stem -> title, and the contract."""


def make_schema(name: str) -> dict[str, Any]:
    """One schema, with its head."""
    title, contract = SCHEMAS[name]
    if isinstance(contract, type) and issubclass(contract, BaseModel):
        body = contract.model_json_schema()
    else:
        body = TypeAdapter(contract).json_schema()
    body.pop("title", None)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": f"urn:haikud:schema:{name}", "title": title}
    return {**head, **{key: _sorted(body[key]) for key in sorted(body)}}


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(entry) for entry in value]
    return value


def rendered() -> dict[str, str]:
    """File name -> text, for every schema."""
    return {f"{name}.schema.json": json.dumps(make_schema(name), indent=2) + "\n" for name in SCHEMAS}


def write_schemas(folder: Path) -> list[str]:
    """Write what differs and remove what no contract has any more; the names of both."""
    wrong = differing(folder)
    texts = rendered()
    folder.mkdir(parents=True, exist_ok=True)
    for name in wrong:
        if name in texts:
            (folder / name).write_text(texts[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return wrong


def differing(folder: Path) -> list[str]:
    """The names of schema files that are missing, differ, or belong to no contract."""
    texts = rendered()
    wrong = [name for name, text in texts.items() if not _holds(folder / name, text)]
    strangers = [path.name for path in folder.glob("*.schema.json") if path.name not in texts]
    return sorted([*wrong, *strangers])


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False
