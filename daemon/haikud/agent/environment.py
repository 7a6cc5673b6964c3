"""The environment of everything untrusted in an attempt: agents, their tools, setup, tests, linters.

Built from nothing: the guide's variables, haikud's own, git's identity, and what the settings name. A variable that
has no value is absent, not empty. The API's credentials are never there, whoever names them. A command agent whose role
asks for one gets the gateway's address and a token of it; the API's own key only where there is no gateway (an attempt
that an older daemon ordered).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from haikud.contracts.attempt import Spec
from haikud.sandbox.environment import API_NAMES, git_variables
from haikud.sandbox.tool_variables import tool_variables
from haikud.spool.layout import AttemptPaths

MOST_NOTE_CHARACTERS = 8_000
"""Of why a task is given once more: an environment has little room."""

_PROXIES = frozenset({"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"})


def private_folders(paths: AttemptPaths) -> tuple[Path, Path]:
    """The agent's own HOME and TMPDIR."""
    out = paths.out
    return out / "home", out / "tmp"


def make_private_folders(paths: AttemptPaths) -> None:
    """Make them, where they are missing."""
    for folder in (paths.out, *private_folders(paths)):
        folder.mkdir(mode=0o700, exist_ok=True)


def agent_environment(
    spec: Spec,
    paths: AttemptPaths,
    *,
    worktree: Path,
    identity: tuple[str, str],
    host: Mapping[str, str],
    api_key: str | None = None,
    issue_number: int | None = None,
) -> dict[str, str]:
    """The whole environment for this attempt's untrusted processes.

    `identity`: name and e-mail of the agent's commits. `host`: the runner's own environment, from which PATH and the
    names that the settings pass on are taken. `api_key`, the gateway's token or the API's key, only reaches a command
    agent whose role has `credential`.
    """
    home, temporary = private_folders(paths)
    chosen = {name: host[name] for name in spec.pass_environment if name in host} | spec.set_environment
    path = host.get("PATH") or os.defpath
    environment = {
        **tool_variables(path, Path("~").expanduser(), host),
        "PATH": path,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        **{name: value for name, value in chosen.items() if name not in API_NAMES},
        **git_variables(identity),
        **_guide_variables(spec, paths, worktree, issue_number),
        **_own_variables(spec, paths),
    }
    if spec.role.command is not None and spec.role.credential:
        if api_key:
            environment["ANTHROPIC_API_KEY"] = api_key
        base_url = spec.gateway.base_url if spec.gateway else spec.api.base_url
        if base_url:
            environment["ANTHROPIC_BASE_URL"] = base_url
        if spec.gateway and _PROXIES & set(environment):
            _go_past_proxies(environment)
    return environment


def _go_past_proxies(environment: dict[str, str]) -> None:
    """Proxies that the settings pass on are for the way out; they would not find the gateway on this machine."""
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, (named, "127.0.0.1")))


def _guide_variables(spec: Spec, paths: AttemptPaths, worktree: Path, issue_number: int | None) -> dict[str, str]:
    """The guide's "Environment Variables", and TASK_PLAN_FILE of its "File-Based Communication"."""
    context, workspace = spec.task.context, spec.workspace
    return _present(
        {
            "TASK_ID": spec.task_id,
            "ISSUE_NUMBER": None if issue_number is None else str(issue_number),
            "WORKTREE_PATH": str(worktree),
            "BRANCH_NAME": workspace.branch if workspace else None,
            "PROJECT_TYPE": context.project_type,
            "TEST_COMMAND": context.test_command,
            "LINT_COMMAND": context.lint_command,
            "MAIN_BRANCH": workspace.main_branch if workspace else None,
            "TASK_PLAN_FILE": str(paths.assignment),
        }
    )


def _own_variables(spec: Spec, paths: AttemptPaths) -> dict[str, str]:
    return _present(
        {
            "HAIKUD_REF": spec.ref,
            "HAIKUD_PLAN_ID": spec.plan_id,
            "HAIKUD_ROLE": spec.role.name,
            "HAIKUD_AGENT_ID": spec.agent_id,
            "HAIKUD_ATTEMPT": str(spec.attempt),
            "HAIKUD_OUT": str(paths.out),
            "HAIKUD_GUIDANCE_FILE": str(paths.guidance) if spec.guidance else None,
            "HAIKUD_DEPENDENCIES_FILE": str(paths.dependencies) if paths.dependencies.exists() else None,
            "HAIKUD_MODEL": spec.role.model,
            "HAIKUD_RESUME_NOTE": (spec.resume_note or "").replace("\0", "")[:MOST_NOTE_CHARACTERS],
            "HAIKUD_MAX_COST_USD": f"{spec.budget_usd:.6f}",
            "HAIKUD_MAX_TURNS": str(spec.limits.max_turns),
        }
    )


def _present(variables: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if value}
