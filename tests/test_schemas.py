"""The checked-in schemas are what the contracts say, and they accept what the guide shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter, ValidationError

from haikud.contracts.requests import Request
from haikud.interfaces.cli import haikud_command
from haikud.interfaces.schema_export import SCHEMAS, differing, make_schema, write_schemas

FOLDER = Path(__file__).resolve().parent.parent / "schemas"


def test_the_checked_in_schemas_are_the_contracts():
    assert differing(FOLDER) == [], "run: make schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_has_a_head(name: str):
    schema = make_schema(name)
    assert list(schema)[:3] == ["$schema", "$id", "title"]
    assert schema["$id"] == f"urn:haikud:schema:{name}"
    assert schema["title"] == SCHEMAS[name][0]


def test_writing_mends_what_differs_and_removes_what_no_contract_has(tmp_path: Path):
    assert len(write_schemas(tmp_path)) == len(SCHEMAS)
    (tmp_path / "plan.schema.json").write_text("{}")
    (tmp_path / "old.schema.json").write_text("{}")
    (tmp_path / "README.md").write_text("mine")
    done = CliRunner().invoke(haikud_command, ["schema", "--check", str(tmp_path)])
    assert done.exit_code == 1
    assert "old.schema.json, plan.schema.json" in done.stderr
    assert write_schemas(tmp_path) == ["old.schema.json", "plan.schema.json"]
    assert CliRunner().invoke(haikud_command, ["schema", "--check", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    "request_document",
    [
        {
            "version": "1.0",
            "timestamp": "2025-10-21T10:30:00Z",
            "sender": "main-agent",
            "receiver": "parallel-task-executor",
            "message_type": "task_request",
            "correlation_id": "req-12345",
            "payload": {
                "task": {"title": "Implement logout button", "files": ["a.tsx"], "success_criteria": "Button visible"},
                "context": {"project_type": "react-typescript", "test_command": "npm test"},
            },
        },
        {
            "task_plan": {
                "id": "plan-001",
                "tasks": [
                    {
                        "id": "task-1",
                        "title": "Implement auth page",
                        "priority": "high",
                        "dependencies": [],
                        "files": [{"path": "src/Auth.tsx", "operation": "create", "template": "react-page"}],
                        "implementation_steps": ["Create it"],
                    }
                ],
                "metadata": {"estimated_cost": "$0.12"},
            }
        },
        {"task_id": "task-123", "title": "Implement logout", "files": ["a"], "steps": ["b"], "unknown": 1},
        {"agent": "issue-orchestrator", "task": "create_issue", "params": {"title": "x"}},
        {"template": "feature-implementation", "variables": {"feature_name": "logout"}},
    ],
    ids=["envelope", "task plan", "plan file", "agent request", "template"],
)
def test_the_guides_requests_fit_the_requests_schema(request_document: dict[str, object]):
    TypeAdapter(Request).validate_json(json.dumps(request_document))


@pytest.mark.parametrize(
    "request_document", [{}, {"title": 3}, {"agent": "x"}, {"task_plan": {"id": "p", "tasks": []}}]
)
def test_what_is_no_request_does_not(request_document: dict[str, object]):
    with pytest.raises(ValidationError):
        TypeAdapter(Request).validate_json(json.dumps(request_document))
