"""The guide's own examples: its requests are admitted, its answers and reports are what the contracts describe."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.repository import make_repository

from haikud.contracts.attempt import Assignment
from haikud.contracts.completion import CompletionPayload
from haikud.contracts.envelope import Envelope, MessageType, Response, Status
from haikud.contracts.error_report import ErrorReport
from haikud.contracts.plan import Plan, RequestShape
from haikud.contracts.settings import default_settings
from haikud.engine.admission.prepare import prepare_plan
from haikud.engine.admission.rejection import Rejected
from haikud.roles.catalogue import find_roles
from haikud.roles.plain_yaml import read_plain_yaml
from haikud.roles.templates import find_templates

GUIDE = Path(__file__).resolve().parents[1] / "data" / "guide"


def load(name: str) -> Any:
    text = (GUIDE / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else read_plain_yaml(text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("guide") / "project")


def admit(repository: Path, data: bytes | dict[str, Any], name: str = "request.json") -> Plan:
    return prepare_plan(
        data if isinstance(data, bytes) else json.dumps(data).encode(),
        name,
        "0123456789abcdef",
        settings=default_settings().model_copy(update={"default_repository": str(repository)}),
        spool_root=repository,
        now=datetime(2026, 1, 2, tzinfo=UTC),
        catalogue=find_roles(),
        is_taken=lambda _: False,
    )


@pytest.mark.parametrize(
    ("name", "shape", "plan_id"),
    [
        ("message.json", RequestShape.TASK_REQUEST, "req-12345"),
        ("task-plan.yaml", RequestShape.TASK_PLAN, "plan-001"),
        ("plan-file.json", RequestShape.PLAN_FILE, "task-123"),
        ("agent-request.json", RequestShape.AGENT_REQUEST, "agent-request"),
    ],
)
def test_the_guides_requests_are_admitted_without_a_warning(
    repository: Path, name: str, shape: RequestShape, plan_id: str
):
    plan = admit(repository, (GUIDE / name).read_bytes(), name)
    assert (plan.shape, plan.id, plan.warnings, plan.extra) == (shape, plan_id, [], {})


def test_nothing_of_the_guides_message_is_lost(repository: Path):
    (task,) = admit(repository, (GUIDE / "message.json").read_bytes()).tasks
    sent = load("message.json")["payload"]
    assert task.title == sent["task"]["title"]
    assert task.description == sent["task"]["description"]
    assert [spec.path for spec in task.files] == sent["task"]["files"]
    assert task.tests == sent["task"]["tests"]
    assert task.success_criteria == [sent["task"]["success_criteria"]]
    assert task.context.model_dump(include={*sent["context"]}) == sent["context"]
    assert task.role == "parallel-task-executor"


def test_nothing_of_the_guides_plan_is_lost(repository: Path):
    plan = admit(repository, (GUIDE / "task-plan.yaml").read_bytes(), "task-plan.yaml")
    sent = load("task-plan.yaml")["task_plan"]
    assert plan.metadata == sent["metadata"]
    assert plan.metadata["created_at"] == "2025-10-21T10:00:00Z"
    for task, wanted in zip(plan.tasks, sent["tasks"], strict=True):
        assert [spec.model_dump() for spec in task.files] == wanted["files"]
        assert task.steps == wanted["implementation_steps"]
        for key in ("id", "title", "type", "priority", "dependencies", "tests"):
            assert getattr(task, key) == wanted[key]
    assert [task.branch for task in plan.tasks] == ["feature/plan-001.task-1", "feature/plan-001.task-2"]


def test_the_guides_short_delegations(repository: Path):
    plan = admit(repository, load("good-delegation.yaml")["good_delegation"])
    assert plan.tasks[0].title == "Add logout button to Navigation.tsx"
    assert len(plan.tasks[0].steps) == 3
    with pytest.raises(Rejected) as caught:
        admit(repository, load("bad-delegation.yaml")["bad_delegation"])
    assert [fault.field for fault in caught.value.faults] == ["/context"]
    with pytest.raises(Rejected) as caught:
        admit(repository, load("good-delegation.yaml"))
    assert "move what is under '/good_delegation'" in caught.value.faults[0].fix


def test_the_guides_selective_context(repository: Path):
    plan = admit(repository, {"title": "T", **load("selective-context.yaml")})
    context = plan.tasks[0].context
    assert context.files == ["src/components/Navigation.tsx", "src/auth/AuthContext.tsx"]
    assert context.extra == {"total": "800 tokens", "savings": "49.2K tokens = ~$0.15"}


def test_the_guides_assigned_task_is_a_subset_of_the_assignment(repository: Path):
    assigned = load("assigned-task.yaml")["assigned_task"]
    assert set(assigned) - {"id"} <= set(Assignment.model_fields)
    whole = Assignment.model_validate({"task_id": assigned["id"], **assigned})
    assert whole.context.test_command == "npm test"
    plan = admit(repository, assigned)
    assert (plan.id, plan.tasks[0].steps) == ("task-1", assigned["steps"])


def test_the_guides_template_is_the_packages():
    assert find_templates()["feature-implementation"].document == load("task-template.yaml")["task_template"]


def test_the_guides_message_and_response_are_envelopes():
    message = Envelope.model_validate(load("message.json"))
    assert message.message_type is MessageType.TASK_REQUEST
    response = Response.model_validate(load("response.json"))
    assert response.status is Status.SUCCESS
    assert response.model_dump(mode="json") == load("response.json")
    payload = CompletionPayload.model_validate(response.payload)
    assert payload.tests_passing is True
    assert payload.model_dump(mode="json", include=set(response.payload)) == response.payload


def test_the_guides_operation_answer_fits_a_payload():
    answer = CompletionPayload.model_validate(load("agent-response.json")).model_dump(mode="json", exclude_unset=True)
    assert answer == load("agent-response.json")


def test_the_guides_error_report_is_ours_field_by_field():
    written = load("error-report.json")["error_report"]
    report = ErrorReport.model_validate(written)
    assert report.model_dump(mode="json", exclude_unset=True) == written
    assert report.context.environment == {"node_version": "18.17.0", "npm_version": "9.8.1"}


def test_the_guides_alternatives_are_all_known():
    for severity in ("critical", "high", "medium", "low"):
        for kind in ("test_failure", "build_error", "dependency_error", "git_error"):
            report = load("error-report.json")["error_report"] | {"severity": severity, "type": kind}
            assert ErrorReport.model_validate(report).severity == severity


def test_the_guides_environment_is_a_list_of_exports():
    lines = (GUIDE / "environment.sh").read_text(encoding="utf-8").splitlines()
    names = [match[1] for line in lines if (match := re.fullmatch(r'export ([A-Z_]+)="[^"]*"', line))]
    assert names == [
        *("TASK_ID", "ISSUE_NUMBER", "WORKTREE_PATH", "BRANCH_NAME"),
        *("PROJECT_TYPE", "TEST_COMMAND", "LINT_COMMAND", "MAIN_BRANCH"),
    ]


def test_the_guides_agent_costs_add_up():
    costs = load("agent-costs.yaml")["agent_costs"]
    agents = [value for key, value in costs.items() if key not in {"total_cost", "comparison"}]
    assert costs["total_cost"] == pytest.approx(sum(agent["cost_usd"] for agent in agents))
    assert set(costs["comparison"]) == {"if_all_sonnet", "savings_usd", "savings_percent"}


@pytest.mark.parametrize("path", sorted(GUIDE.glob("*.yaml")), ids=lambda path: path.name)
def test_every_yaml_of_the_guide_is_plain_yaml(path: Path):
    text = path.read_text(encoding="utf-8")
    assert read_plain_yaml(text) == yaml.safe_load(text)


def test_every_file_of_the_guide_is_in_the_list_of_repairs():
    listed = (GUIDE / "REPAIRS.md").read_text(encoding="utf-8")
    for path in GUIDE.iterdir():
        generic = "`*.json`" if path.suffix == ".json" else "`*.yaml`"
        assert path.name == "REPAIRS.md" or f"`{path.name}`" in listed or generic in listed
