"""What an error report says about the environment: the versions of the tools, those the project asks for, and `.env`.

Asked only when something has failed, each version with a short limit: a report without one is better than a report
that is late. It is asked within the walls: to tell its version, yarn runs what a file in HOME names, and Python what
lies in its user's packages, and there the agent writes. Names of variables are shown, their values never.
"""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from haikud import __version__
from haikud.agent.attempt import Attempt
from haikud.agent.reports.env_drift import find_drift
from haikud.agent.reports.pins import agrees, read_pins
from haikud.contracts.base import JsonObject
from haikud.sandbox.commands import CannotStart
from haikud.sandbox.trees import TreeStillAlive

VERSION_SECONDS = 3.0
MOST_VERSIONS = 6

_TOOLS = {
    "node": "node",
    "npm": "npm",
    "npx": "npm",
    "yarn": "yarn",
    "pnpm": "pnpm",
    "bun": "bun",
    "deno": "deno",
    "python": "python",
    "python3": "python",
    "pytest": "pytest",
    "pip": "pip",
    "uv": "uv",
    "ruff": "ruff",
    "mypy": "mypy",
    "cargo": "cargo",
    "make": "make",
    "gcc": "gcc",
    "ruby": "ruby",
    "mvn": "mvn",
    "php": "php",
}
"""Words of a command -> the tool whose version is asked."""

_PROGRAMS = {"python": ("python3", "python")}
"""Where a tool's program has several names, those to try in order; PATH decides, as for the task's commands."""


def environment_facts(attempt: Attempt, command: str | None) -> JsonObject:
    """The report's `context.environment`: `TOOL_version` for each tool, mismatches, what is amiss with `.env`."""
    facts: JsonObject = {"haikud_version": __version__, "python_version": platform.python_version()}
    has_place = attempt.worktree != Path("/") and attempt.worktree.is_dir()
    pins = read_pins(attempt.worktree) if has_place else []
    for tool in _tools(attempt, command, [pin.tool for pin in pins]):
        version = None if attempt.stop.is_set() else _ask_version(attempt, tool)
        if version:
            facts[f"{tool}_version"] = version
    mismatches = []
    for pin in pins:
        found = facts.get(f"{pin.tool}_version")
        if not isinstance(found, str):
            mismatches.append(f"{pin.tool}: {pin.file} asks for {pin.wanted}, none was found in PATH")
        elif agrees(pin.wanted, found) is False:
            mismatches.append(f"{pin.tool}: {pin.file} asks for {pin.wanted}, found {found}")
    if mismatches and not attempt.stop.is_set():
        facts["version_mismatches"] = mismatches
    if has_place:
        facts.update(_env_facts(attempt))
    return facts


def _tools(attempt: Attempt, command: str | None, pinned: list[str]) -> list[str]:
    context = attempt.spec.task.context
    commands = [command, context.test_command, context.lint_command, context.setup_command]
    words = re.findall(r"[\w.+-]+", " ".join(filter(None, commands)))
    tools = dict.fromkeys(["git", *pinned, *(_TOOLS[word] for word in words if word in _TOOLS)])
    if "npm" in tools or "yarn" in tools or "pnpm" in tools:
        tools = {"git": None, "node": None, **tools}
    return list(tools)[: MOST_VERSIONS + len(pinned)]


def _env_facts(attempt: Attempt) -> JsonObject:
    """Absent where there is nothing to say."""
    order = attempt.spec.workspace
    drift = find_drift(attempt.worktree, Path(order.repository) if order else None)
    if drift is None:
        return {}
    facts: JsonObject = {"env_file": ".env" if drift.is_there else None}
    if drift.example:
        facts["env_example"] = drift.example
    if not drift.is_there and drift.checkout_has:
        facts["env_not_copied"] = "the checkout has a .env; git.copy_files: [.env] copies it into worktrees"
    lists = {"env_missing": drift.missing, "env_extra": drift.extra, "env_outdated": drift.outdated}
    return {**facts, **{name: found for name, found in lists.items() if found}}


def _ask_version(attempt: Attempt, tool: str) -> str | None:
    names = _PROGRAMS.get(tool, (tool,))
    path = next(filter(None, (shutil.which(name, path=attempt.environment.get("PATH")) for name in names)), None)
    if path is None or attempt.sandbox.policy.mode != attempt.spec.sandbox:  # the walls were not put up
        return None
    output: list[bytes] = []
    try:
        ended = attempt.sandbox.run(
            [path, "--version"],
            cwd="/",
            env=attempt.environment,
            timeout=VERSION_SECONDS,
            grace=0.2,
            on_output=output.append,
            stop=attempt.stop.is_set,
        )
    except (CannotStart, TreeStillAlive, OSError):  # the machine may be why there is a report at all
        return None
    found = re.search(rb"\d+(?:\.\d+)+[\w.+-]*", b"".join(output)[:2000])
    return found[0].decode("ascii", "replace") if found and ended.exit_code == 0 else None
