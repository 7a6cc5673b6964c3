"""What an agent gets to see: exactly this."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.attempts import KEY, Bench
from tests.support.made import make_given

from haikud.agent.environment import agent_environment
from haikud.contracts.attempt import Spec
from haikud.contracts.secret_shapes import looks_secret
from haikud.contracts.states import AttemptOutcome
from haikud.sandbox.tool_variables import tool_variables

DUMP = 'env -0 > "$HAIKUD_OUT/env"; cp "$TASK_PLAN_FILE" "$HAIKUD_OUT/plan"; pwd > "$HAIKUD_OUT/pwd"'
FULL = {"project_type": "python", "test_command": "true", "lint_command": "true"}
SHELLS_OWN = {"PWD", "SHLVL", "_", "OLDPWD"}


def seen(bench: Bench) -> dict[str, str]:
    data = (bench.paths.out / "env").read_bytes().decode()
    return {name: value for name, value in (e.split("=", 1) for e in data.split("\0") if e) if name not in SHELLS_OWN}


def test_the_environment_is_built_from_nothing(bench: Bench):
    bench.order(
        DUMP,
        context=FULL,
        issue_number=7,
        pass_environment=["PASSED", "ABSENT", "ANTHROPIC_API_KEY", "NPM_TOKEN"],
        set_environment={"CI": "1", "ANTHROPIC_AUTH_TOKEN": "no"},
        api={"base_url": "http://127.0.0.1:9"},
        guidance=[make_given("Take two.")],
        git_settings={"user_name": "Agent Smith"},
    )
    bench.paths.dependencies.write_text("{}")
    result = bench.run(PASSED="on", OTHER="kept back", ANTHROPIC_API_KEY=KEY, NPM_TOKEN="npm")
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    out = bench.paths.out
    expected = {
        **tool_variables(os.environ["PATH"], Path("~").expanduser(), os.environ),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HOME": str(out / "home"),
        "TMPDIR": str(out / "tmp"),
        "PASSED": "on",
        "NPM_TOKEN": "npm",
        "CI": "1",
        "TASK_ID": "task-1",
        "ISSUE_NUMBER": "7",
        "WORKTREE_PATH": str(bench.worktree),
        "BRANCH_NAME": "feature/task-1",
        "PROJECT_TYPE": "python",
        "TEST_COMMAND": "true",
        "LINT_COMMAND": "true",
        "MAIN_BRANCH": "main",
        "TASK_PLAN_FILE": str(bench.paths.assignment),
        "HAIKUD_REF": "task-1",
        "HAIKUD_PLAN_ID": "task-1",
        "HAIKUD_ROLE": "worker",
        "HAIKUD_AGENT_ID": "worker-1",
        "HAIKUD_ATTEMPT": "1",
        "HAIKUD_OUT": str(out),
        "HAIKUD_GUIDANCE_FILE": str(bench.paths.guidance),
        "HAIKUD_DEPENDENCIES_FILE": str(bench.paths.dependencies),
        "HAIKUD_MODEL": "claude-haiku-5-5",
        "HAIKUD_MAX_COST_USD": "0.500000",
        "HAIKUD_MAX_TURNS": "100",
        "GIT_AUTHOR_NAME": "Agent Smith",
        "GIT_AUTHOR_EMAIL": "haikud@localhost",
        "GIT_COMMITTER_NAME": "Agent Smith",
        "GIT_COMMITTER_EMAIL": "haikud@localhost",
        "GIT_TERMINAL_PROMPT": "0",
    }
    assert bench.paths.guidance.read_text() == "Take two.\n"
    got = seen(bench)
    assert {name: value for name, value in got.items() if not name.startswith("GIT_CONFIG_")} == expected
    assert got["GIT_CONFIG_KEY_0"] == "commit.gpgsign"
    assert (out / "pwd").read_text() == f"{bench.worktree}\n"
    assert (out / "plan").read_bytes() == bench.paths.assignment.read_bytes()
    assert any("ANTHROPIC_API_KEY" in warning for warning in result.warnings)
    assert "NPM_TOKEN: by its name a credential" in bench.log()


def test_what_has_no_value_is_absent(bench: Bench):
    bench.order(DUMP, with_worktree=False, role={"model": ""})
    result = bench.run()
    assert result.outcome is AttemptOutcome.COMPLETED, bench.log()
    got = seen(bench)
    absent = {"ISSUE_NUMBER", "BRANCH_NAME", "PROJECT_TYPE", "TEST_COMMAND", "LINT_COMMAND", "MAIN_BRANCH"}
    absent |= {"HAIKUD_GUIDANCE_FILE", "HAIKUD_DEPENDENCIES_FILE", "HAIKUD_MODEL", "ANTHROPIC_API_KEY"}
    assert not absent & set(got)
    assert "" not in got.values()
    assert got["WORKTREE_PATH"] == str(bench.paths.workspace)
    assert list(bench.paths.workspace.iterdir()) == []
    assert result.evidence is not None
    assert (result.evidence.branch, result.evidence.head_sha) == (None, None)


def test_a_role_with_credential_gets_the_key_and_the_url(bench: Bench):
    bench.order(DUMP, role={"credential": True}, api={"base_url": "http://127.0.0.1:9"}, with_worktree=False)
    bench.run()
    assert seen(bench)["ANTHROPIC_API_KEY"] == KEY
    assert seen(bench)["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"


def test_a_built_in_role_never_hands_the_key_to_its_commands(bench: Bench):
    paths = bench.order(role={"credential": True})
    spec = Spec.model_validate_json(paths.spec.read_bytes())
    environment = agent_environment(
        spec, paths, worktree=Path("/w"), identity=("a", "b"), host={"ANTHROPIC_API_KEY": KEY}, api_key=KEY
    )
    assert KEY not in environment.values()
    assert environment["PATH"] == os.defpath


def test_names_that_look_like_credentials():
    assert all(map(looks_secret, ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "api_key", "X_CREDENTIALS"]))
    assert not any(map(looks_secret, ["PATH", "KEYBOARD", "TOKENIZERS_PARALLELISM", "MONKEY_ISLAND"]))
