"""Bad input: rejected with every fault, each with its field, what was found, what was expected and the fix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.engine.admission.conftest import NOW, Desk
from tests.support.repository import git, make_repository

from haikud.contracts.envelope import MessageType, Status
from haikud.contracts.error_report import ErrorReport, ErrorType, FieldFault
from haikud.contracts.plan import RequestShape
from haikud.engine.admission import repositories
from haikud.engine.admission.rejection import MOST_FAULTS, Rejected, id_already_used, rejected_response
from haikud.workspace.looks import RecentLooks


def several(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"task_plan": {"id": "several", "tasks": list(tasks)}}


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"{ this is no json", "x.json", "INVALID_JSON"),
        (b"", "x.json", "EMPTY"),
        (b"\0\0\0", "x.json", "EMPTY"),
        (bytes(range(128, 256)) * 4, "x.json", "BAD_ENCODING"),
        (b'{"title": "' + b"x" * 2 * 1024 * 1024 + b'"}', "x.json", "TOO_LARGE"),
        (b"[" * 100_000, "x.json", "TOO_DEEP"),
        (b"[" * 100_000, "x.yaml", "TOO_DEEP"),
        (b"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "x.yaml", "FORBIDDEN_YAML"),
        (b"title: !!python/name:os.system\n", "x.yaml", "FORBIDDEN_YAML"),
        (b'{"title": "a", "title": "b"}', "x.json", "DUPLICATE_KEY"),
        (b'{"title": "a", "max_cost_usd": NaN}', "x.json", "BAD_NUMBER"),
        ('{"title": "a"}'.encode("utf-16"), "x.json", "BAD_ENCODING"),
        (b"{}", "x.txt", "BAD_NAME"),
        (b"{}", "x", "BAD_NAME"),
    ],
)
def test_files_that_are_no_request(desk: Desk, data: bytes, name: str, code: str):
    rejected = desk.reject(data, name)
    assert (rejected.code, rejected.plan_id, rejected.states_id) == (code, "x", False)


def test_a_bom_is_fine(desk: Desk):
    assert desk.prepare(b'\xef\xbb\xbf{"title": "T"}').tasks[0].title == "T"


@pytest.mark.parametrize(
    "bad", ["../x", "x" * 101, "a.b", "all", "lock", "-x", "_x", "", " x", "a b", "ä", "a/b", 5, True, [], {}, 1.5]
)
def test_bad_ids_are_never_cleaned(desk: Desk, bad: Any):
    for request, pointer in (
        ({"task_id": bad, "title": "T"}, "/task_id"),
        ({"task_plan": {"id": bad, "tasks": [{"title": "T"}]}}, "/task_plan/id"),
        ({"correlation_id": bad, "payload": {"task": {"title": "T"}}}, "/correlation_id"),
        ({"task_plan": {"id": "p", "tasks": [{"id": bad, "title": "T"}]}}, "/task_plan/tasks/0/id"),
    ):
        rejected = desk.reject(request)
        assert pointer in [fault.field for fault in rejected.faults]
        assert rejected.plan_id in {"request", "p"}


def test_an_id_with_a_nul(desk: Desk):
    rejected = desk.reject(b'{"task_id": "a\\u0000b", "title": "T"}', "nul.json")
    assert [(fault.code, fault.field) for fault in rejected.faults] == [("BAD_TEXT", "/task_id")]
    assert rejected.plan_id == "nul"


def test_a_stated_id_is_found_in_a_document_that_cannot_be_used(desk: Desk):
    assert desk.reject(b'{"task_id": "stated", "title": NaN}').plan_id == "stated"
    assert desk.reject({"task_id": "stated", "sender": "me"}).sender == "me"
    assert desk.reject({"message_type": "guidance", "correlation_id": "stated"}).plan_id == "stated"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 5),
        ("title", ["x"]),
        ("description", {}),
        ("type", 1),
        ("files", 7),
        ("files", "a.py"),
        ("files", [7]),
        ("files", [{"operation": "create"}]),
        ("files", [{"path": 5}]),
        ("steps", {"a": "b"}),
        ("steps", [{"Step": "x"}]),
        ("tests", [["x"]]),
        ("success_criteria", 5),
        ("dependencies", "a"),
        ("dependencies", [5]),
        ("context", "the whole codebase"),
        ("context", {"test_command": ["npm", "test"]}),
        ("context", {"files": 5}),
        ("context", {"files": ["../x"]}),
        ("issue_number", "12"),
        ("issue_number", 0),
        ("issue_number", True),
        ("max_cost_usd", "0.5"),
        ("max_cost_usd", -1),
        ("metadata", []),
        ("repository", 5),
        ("repository", "relative/path"),
        ("repository", "~/project"),
        ("repository", "/does/not/exist"),
        ("repository", "/usr"),
        ("repository", "/etc/hosts"),
        ("repository", "/" + "x" * 300),
        ("role", 5),
        ("model", "opos"),
        ("main_branch", "nowhere"),
        ("title", "x" * 501),
        ("title", "a\x1b[31mb"),
        ("title", " "),
        ("title", None),
    ],
)
def test_wrong_types_and_values_are_named_by_their_pointer(desk: Desk, field: str, value: Any):
    task = {"title": "T", field: value}
    for request, pointer in (
        (task, f"/{field}"),
        ({"payload": {"task": task}}, f"/payload/task/{field}"),
        (several({"title": "fine", "id": "a"}, task), f"/task_plan/tasks/1/{field}"),
    ):
        if field == "metadata" and pointer != "/metadata":
            continue  # free beside a task: kept under extra
        found = {fault.field for fault in desk.reject(request).faults}
        assert any(where == pointer or where.startswith(f"{pointer}/") for where in found), found


def test_a_missing_title_names_what_may_have_been_meant(desk: Desk):
    assert desk.faults({"task_id": "x", "steps": ["a"]})["/title"].code == "MISSING"
    assert desk.faults({"task_id": "x", "titel": "T"})["/title"].fix == "rename 'titel' to title"
    assert "/payload/task/title" in desk.faults({"payload": {"task": {}}})
    assert "/task_plan/tasks/1/title" in desk.faults(several({"title": "T"}, {"id": "b"}))


def test_plans_without_tasks(desk: Desk):
    for tasks in ([], None):
        assert desk.faults({"task_plan": {"tasks": tasks}})["/task_plan/tasks"].code == "MISSING"
    assert "rename" in desk.faults({"task_plan": {"taks": []}})["/task_plan/tasks"].fix
    assert desk.faults({"task_plan": []})["/task_plan"].code == "WRONG_TYPE"
    assert desk.faults({"task_plan": {"tasks": {}}})["/task_plan/tasks"].code == "WRONG_TYPE"
    assert desk.faults({"task_plan": {"tasks": ["a"]}})["/task_plan/tasks/0"].code == "WRONG_TYPE"
    assert desk.faults({"task_plan": None})


def test_too_many_tasks(desk: Desk):
    desk.set(max_tasks_per_plan=3)
    faults = desk.faults(several(*({"title": "T"} for _ in range(4))))
    assert faults["/task_plan/tasks"].code == "TOO_MANY_TASKS"


def test_dependencies_that_cannot_be(desk: Desk):
    faults = desk.faults(several({"id": "a", "title": "T", "dependencies": ["nobody"]}))
    assert "nobody" in faults["/task_plan/tasks/0/dependencies/0"].found
    assert (
        desk.faults({"task_id": "x", "title": "T", "dependencies": ["x"]})["/dependencies/0"].code == "SELF_DEPENDENCY"
    )
    cycle = desk.faults(
        several(
            {"id": "a", "title": "T", "dependencies": ["c"]},
            {"id": "b", "title": "T", "dependencies": ["a"]},
            {"id": "c", "title": "T", "dependencies": ["b"]},
        )
    )
    assert "a -> c -> b -> a" in cycle["/task_plan/tasks/0/dependencies/0"].found


def test_every_fault_is_listed(desk: Desk):
    faults = desk.faults(
        several(
            {"id": "a b", "title": 5, "files": ["/etc/passwd"], "dependencies": ["zzz"], "model": "opos"},
            {"id": "b", "role": "nobody", "repository": "/nowhere", "priority": "soon"},
        )
    )
    at = "/task_plan/tasks"
    assert set(faults) == {
        f"{at}/0/id",
        f"{at}/0/title",
        f"{at}/0/files/0",
        f"{at}/0/dependencies/0",
        f"{at}/0/model",
        f"{at}/1/title",
        f"{at}/1/role",
        f"{at}/1/repository",
        f"{at}/1/priority",
    }


def test_very_many_faults_are_counted(desk: Desk):
    rejected = desk.reject({"title": "T", "files": list(range(9000))})
    assert (len(rejected.faults), rejected.left_out) == (MOST_FAULTS, 9000 - MOST_FAULTS)
    response = rejected_response(rejected, now=NOW)
    assert "8900 more" in response.payload["error_report"]["error"]["details"]


def test_repositories(desk: Desk, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert "no commit" in desk.faults({"title": "T", "repository": str(empty)})["/repository"].found
    inside = f"{desk.repository}/tests"
    plan = desk.prepare({"title": "T", "repository": inside})
    assert any("lies in the repository" in warning for warning in plan.warnings)
    assert (
        str(desk.repository) in desk.faults({"title": "T", "repository": f"{desk.repository}/nope"})["/repository"].fix
    )
    desk.set(default_repository=str(empty))
    assert desk.faults({"payload": {"task": {"title": "T"}}})["/payload/repository"].code == "NO_REPOSITORY"
    desk.set(default_repository=None)
    desk.spool.mkdir()
    fault = desk.faults({"title": "T"})["/repository"]
    assert fault.code == "NO_REPOSITORY"
    assert "default_repository" in fault.found
    desk.spool = Path(inside)  # the checkout that contains the spool
    assert desk.prepare({"title": "T"}).tasks[0].repository == plan.tasks[0].repository


def test_uncommitted_changes_are_warned_about(desk: Desk, tmp_path: Path):
    other = make_repository(tmp_path / "other")
    (other / "calc.py").write_text("changed", encoding="utf-8")
    plan = desk.prepare({"title": "T", "context": {"repository": str(other)}})
    assert any("uncommitted changes" in warning for warning in plan.warnings)
    assert plan.tasks[0].repository is not None
    assert plan.tasks[0].repository.path == str(other)


def test_dependencies_do_not_cross_repositories(desk: Desk, tmp_path: Path):
    other = make_repository(tmp_path / "other")
    first = {"id": "a", "title": "T", "repository": str(other)}
    assert len(desk.prepare(several(first, {"id": "b", "title": "U"})).tasks) == 2
    faults = desk.faults(several(first, {"id": "b", "title": "U", "dependencies": ["a"]}))
    assert faults["/task_plan/tasks/1/dependencies/0"].code == "OTHER_REPOSITORY"


def test_a_repositorys_own_roles(desk: Desk, tmp_path: Path):
    other = make_repository(
        tmp_path / "other",
        {
            ".claude/agents/reviewer.md": "---\nname: reviewer\ntools: Read\n---\nReview.\n",
            ".claude/agents/broken.md": "no front matter",
        },
    )
    plan = desk.prepare({"title": "T", "role": "reviewer", "repository": str(other)})
    assert plan.tasks[0].role == "reviewer"
    assert any("broken.md" in warning for warning in plan.warnings)
    assert desk.faults({"title": "T", "role": "reviewer"})["/role"].code == "UNKNOWN_ROLE"


def test_broken_templates_stop_only_what_needs_them(desk: Desk, tmp_path: Path):
    (tmp_path / "broken.yaml").write_text("a: b: c", encoding="utf-8")
    desk.set(templates_dir=str(tmp_path))
    assert desk.prepare({"title": "T"}).warnings == []
    faults = desk.faults({"template": "feature-implementation", "variables": {"feature_name": "x"}})
    assert faults["/template"].code == "BAD_TEMPLATE"
    (tmp_path / "files").mkdir()
    (tmp_path / "files/odd.yaml").write_text("content: 5", encoding="utf-8")
    assert any("odd.yaml" in warning for warning in desk.prepare({"title": "T"}).warnings)


def test_the_answer_to_a_rejected_request(desk: Desk):
    request = {"sender": "me", "correlation_id": "c-1", "payload": {"task": {"title": 5}}}
    response = rejected_response(desk.reject(request), now=NOW)
    assert (response.status, response.receiver, response.sender) == (Status.REJECTED, "me", "haikud")
    assert (response.correlation_id, response.message_type) == ("c-1", MessageType.TASK_COMPLETION)
    report = ErrorReport.model_validate(response.payload["error_report"])
    assert (report.type, report.error.code, report.task_id) == (ErrorType.INVALID_REQUEST, "WRONG_TYPE", "c-1")
    assert report.context.faults == [
        FieldFault(
            field="/payload/task/title",
            found="the number 5",
            expected="a string",
            fix='put quotes around it: "5"',
            code="WRONG_TYPE",
        )
    ]
    assert report.context.environment["haikud_version"]
    assert '"5"' in report.next_steps.suggested_action

    plan = rejected_response(desk.reject(several({"id": "a"})), now=NOW)
    assert plan.message_type is MessageType.PLAN_COMPLETION
    assert plan.payload["tasks"] == []
    agent = desk.reject({"agent": "test-runner", "task": "nothing"})
    assert agent.shape is RequestShape.AGENT_REQUEST
    assert rejected_response(agent, now=NOW).payload["success"] is False


def test_a_used_id_is_rejected_in_words():
    rejected = id_already_used("taken", "taken.json", sender="me")
    assert "already used" in rejected_response(rejected, now=NOW).model_dump_json()
    with pytest.raises(ValueError, match="needs a fault"):
        Rejected([], plan_id="x", name="x")


def test_a_name_that_is_no_utf8_can_be_answered(desk: Desk):
    name = os.fsdecode(b"caf\xe9.json")
    assert desk.prepare({"title": "T"}, name).id == "caf"
    assert desk.reject({"titel": "T"}, name).plan_id == "caf"
    assert desk.reject(b"", os.fsdecode(b"\xe9.json")).plan_id == "request"


def test_a_git_that_was_killed_is_not_the_requests_fault(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\nkill -9 $$\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(repositories, "_LOOKS", RecentLooks())  # what git has said a moment ago it is not asked again
    with pytest.raises(InterruptedError, match="signal 9"):
        desk.prepare({"task_id": "a", "title": "A", "context": {"repository": str(desk.repository)}})
