"""The catalogue: the package's roles, the settings' over them, a repository's narrowed."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from haikud.contracts.settings import default_settings
from haikud.roles.catalogue import UnknownModel, find_roles, repository_roles, resolve_model, resolve_role
from haikud.roles.files import RoleError

MODELS = default_settings().models

OPERATIONS = {
    "issue-orchestrator": (
        *("create_issue", "create_issues", "update_issue", "comment_issue", "close_issue", "add_labels", "link_issues"),
        "list_issues",
    ),
    "worktree-manager": ("create_worktree", "list_worktrees", "remove_worktree", "worktree_status"),
    "test-runner": ("run_tests",),
    "parallel-task-executor": (),
    "claude-code": (),
}


def test_the_package_brings_the_guides_four_roles_and_claude_code():
    roles = find_roles()
    assert {name: role.operations for name, role in roles.items()} == OPERATIONS
    for role in roles.values():
        assert role.warnings == ()
        assert role.description
        assert 100 < len(role.prompt) < 3000
        assert role.source == "package"
    assert {n: (r.workspace, r.needs_repository) for n, r in roles.items()} == {
        "issue-orchestrator": ("none", False),
        "worktree-manager": ("none", True),
        "test-runner": ("worktree", True),
        "parallel-task-executor": ("worktree", True),
        "claude-code": ("worktree", True),
    }


def test_only_the_packages_roles_name_haikuds_interpreter(tmp_path: Path):
    role = find_roles()["claude-code"]
    assert role.command == (sys.executable, "-Ps", "-m", "haikud.agent.claude_code")
    assert role.credential
    text = b"---\nname: mine\ncommand: ['{python}', -m, mine]\n---\nA prompt.\n"
    (tmp_path / "mine.md").write_bytes(text)
    roles = find_roles(tmp_path)
    assert roles["mine"].command == ("{python}", "-m", "mine")
    found, _ = repository_roles({".claude/agents/other.md": text.replace(b"mine", b"other")}, roles)
    assert found["other"].command is None


def test_the_settings_folder_goes_before_the_package(tmp_path: Path):
    (tmp_path / "mine.md").write_text("---\nname: test-runner\ncommand: [./run.sh, x]\n---\n", encoding="utf-8")
    (tmp_path / "run.sh").write_text("", encoding="utf-8")
    (tmp_path / ".hidden.md").write_text("no role", encoding="utf-8")
    role = find_roles(tmp_path)["test-runner"]
    assert role.source == "settings"
    assert role.command == (str(tmp_path / "run.sh"), "x")
    (tmp_path / "again.md").write_text("---\nname: test-runner\n---\n", encoding="utf-8")
    with pytest.raises(RoleError, match="already"):
        find_roles(tmp_path)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path):
    with pytest.raises(RoleError, match="cannot be read"):
        find_roles(tmp_path / "nowhere")
    (tmp_path / "broken.md").write_text("no front matter", encoding="utf-8")
    with pytest.raises(RoleError, match=r"broken.md:1"):
        find_roles(tmp_path)


def test_a_repository_adds_prompts_and_narrows_tools_and_nothing_else():
    roles, warnings = repository_roles(
        {
            "a.md": b"---\nname: narrow\ntools: Read\n---\nLook.",
            "b.md": b"---\nname: greedy\ncommand: [sh]\ncredential: true\nworkspace: none\noperations: [x]\n"
            b"model: opus\nrepository: false\npermissionMode: bypassPermissions\nhooks: {a: b}\nenv: {PATH: /evil}\n"
            b"tools: Bash, mcp__evil__run\n---\nGrab.",
            "c.md": b"---\nname: test-runner\n---\nImpostor.",
            "d.md": b"broken",
            "e.txt": b"no role",
            "f.md": b"---\nname: narrow\n---\nTwice.",
        },
        find_roles(),
    )
    assert set(roles) == {"narrow", "greedy"}
    assert roles["narrow"].tools == ("view", "report_progress", "escalate")
    greedy = roles["greedy"]
    assert (greedy.command, greedy.credential, greedy.workspace, greedy.operations) == (None, False, "worktree", ())
    assert (greedy.model, greedy.prompt, greedy.source) == (None, "Grab.", "repository")
    assert greedy.needs_repository
    assert greedy.tools == ("bash", "report_progress", "escalate")
    assert "env" not in {field.name for field in dataclasses.fields(greedy)}
    assert "command, credential, workspace, operations, model" in greedy.warnings[-1]
    text = "\n".join(warnings)
    for word in ("c.md", "d.md", "f.md"):
        assert word in text


def test_of_many_broken_files_some_are_named_and_a_readme_is_none():
    files = {f"{n}.md": b"no role" for n in range(9)}
    roles, warnings = repository_roles({**files, "README.md": b"Our agents.", "team/README.md": b""}, find_roles())
    assert not roles
    assert len(warnings) == 6
    assert warnings[-1] == "... and 4 more role files of the repository are not usable"


def test_a_repository_cannot_have_more_tools_than_the_executor(tmp_path: Path):
    (tmp_path / "x.md").write_text("---\nname: parallel-task-executor\ntools: Edit\n---\n", encoding="utf-8")
    roles, _ = repository_roles({"a.md": b"---\nname: a\ntools: Bash, Edit\n---\n"}, find_roles(tmp_path))
    assert roles["a"].tools == ("edit", "view", "report_progress", "escalate")


def test_models():
    assert resolve_model("haiku", MODELS) == "claude-haiku-5-5"
    assert resolve_model("claude-haiku-4-5", MODELS) == "claude-haiku-4-5"
    with pytest.raises(UnknownModel):
        resolve_model("opus", MODELS)


@pytest.mark.parametrize(
    ("of_role", "of_task", "model"),
    [
        (None, None, "claude-haiku-5-5"),
        ("sonnet", None, "claude-sonnet-5-5"),
        ("sonnet", "haiku", "claude-haiku-5-5"),
        ("opus", None, "claude-haiku-5-5"),
        (None, "claude-x-1", "claude-x-1"),
    ],
)
def test_the_tasks_model_goes_before_the_roles(tmp_path: Path, of_role: str | None, of_task: str | None, model: str):
    line = f"\nmodel: {of_role}" if of_role else ""
    (tmp_path / "r.md").write_text(f"---\nname: r{line}\n---\nPrompt.", encoding="utf-8")
    resolved = resolve_role("r", find_roles(tmp_path), {}, models=MODELS, default_model="haiku", task_model=of_task)
    assert (resolved.model, resolved.prompt, resolved.tools) == (
        model,
        "Prompt.",
        ["bash", "edit", "view", "report_progress", "escalate"],
    )


def test_a_role_of_the_repository_is_resolved_and_an_unknown_one_is_not():
    catalogue = find_roles()
    roles, _ = repository_roles({"a.md": b"---\nname: a\n---\nPrompt."}, catalogue)
    assert resolve_role("a", catalogue, roles, models=MODELS, default_model="haiku").source == "repository"
    with pytest.raises(KeyError):
        resolve_role("b", catalogue, roles, models=MODELS, default_model="haiku")
    with pytest.raises(UnknownModel):
        resolve_role("a", catalogue, roles, models=MODELS, default_model="haiku", task_model="opus")


def test_a_role_that_is_no_regular_file_is_named_and_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "waits.md")
    with pytest.raises(RoleError, match=r"waits\.md: is no regular file"):
        find_roles(tmp_path)
