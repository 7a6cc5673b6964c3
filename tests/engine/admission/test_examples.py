"""Every example under spool/examples/ is what it says: it becomes a plan, and its role and settings can be read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.engine.admission.conftest import Desk
from tests.support.repository import git

from haikud.contracts.plan import RequestShape
from haikud.contracts.settings import Settings
from haikud.roles.catalogue import find_roles

EXAMPLES = Path(__file__).resolve().parents[3] / "spool" / "examples"
SHAPES = {
    "task-request": RequestShape.TASK_REQUEST,
    "task-plan": RequestShape.TASK_PLAN,
    "plan-file": RequestShape.PLAN_FILE,
    "agent-request": RequestShape.AGENT_REQUEST,
    "template-request": RequestShape.TEMPLATE_REQUEST,
}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
@pytest.mark.parametrize("stem", SHAPES)
def test_each_shape_has_an_example_that_is_admitted(desk: Desk, stem: str, suffix: str):
    path = EXAMPLES / f"{stem}.{suffix}"
    desk.set(routing="warn")
    plan = desk.prepare(path.read_bytes(), path.name)
    assert plan.shape is SHAPES[stem]
    assert plan.warnings == []
    assert plan.extra == {}
    assert plan.request_file == f"request.{suffix}"


def test_there_are_no_other_examples():
    known = {f"{stem}.{suffix}" for stem in SHAPES for suffix in ("json", "yaml")}
    others = {path.name for path in EXAMPLES.iterdir()} - known
    assert others == {"claude-code-plan.yaml", "hello-agent.sh", "hello-request.json", "hello-settings.yaml", "roles"}


def test_the_example_for_claude_code_is_admitted(desk: Desk):
    path = EXAMPLES / "claude-code-plan.yaml"
    desk.catalogue = find_roles()
    plan = desk.prepare(path.read_bytes(), path.name)
    assert [(task.role, task.dependencies) for task in plan.tasks] == [("claude-code", []), ("claude-code", ["divide"])]
    assert (plan.warnings, plan.extra) == ([], {})


def test_the_shell_agent_is_a_role_of_the_example_settings(desk: Desk):
    values = yaml.safe_load((EXAMPLES / "hello-settings.yaml").read_text(encoding="utf-8"))
    settings = Settings.model_validate(values)
    assert settings.roles_dir
    desk.catalogue = find_roles(EXAMPLES / settings.roles_dir)
    plan = desk.prepare((EXAMPLES / "hello-request.json").read_bytes(), "hello-request.json")
    assert plan.tasks[0].role == "hello-agent"
    assert desk.catalogue["hello-agent"].command == (str(EXAMPLES / "hello-agent.sh"),)
    assert len((EXAMPLES / "hello-agent.sh").read_text(encoding="utf-8").splitlines()) < 15


def test_the_shell_agent_works(desk: Desk, tmp_path: Path):
    work = tmp_path / "work"
    git(tmp_path, "clone", "-q", str(desk.repository), str(work))
    out = tmp_path / "out"
    out.mkdir()
    names = ("HAIKUD_ROLE", "HAIKUD_ATTEMPT", "HAIKUD_REF", "WORKTREE_PATH", "TASK_ID")
    environment = dict.fromkeys(names, "x") | {"HAIKUD_OUT": str(out), "PATH": "/usr/bin:/bin"}
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        [str(EXAMPLES / "hello-agent.sh")], cwd=work, env=environment | identity, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert git(work, "log", "-1", "--format=%s") == "Say hello"
    assert {path.name for path in out.iterdir()} == {"events.jsonl", "result.json"}
