"""Evidence: what the runner measured itself, never what the model said."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model


class VerificationRun(Model):
    """One run of a verification command on what is committed."""

    kind: Literal["test", "lint", "optional_test"]  # only a failing test blocks
    command: str
    exit_code: int | None  # None: it was ended (see timed_out); negative: killed by that signal
    seconds: float
    timed_out: bool = False
    log_offset: int = 0  # byte offset in agent.log at which its output begins
    log_end: int = 0  # and at which it ends
    counts: dict[str, int] = Field(default_factory=dict)  # passed, failed, skipped, as far as the tests said so
    reports: list[str] = Field(default_factory=list)  # that the tests wrote; relative to the worktree


class Evidence(Model):
    """Facts about the branch and the checks, taken after the agent and all it left running had ended."""

    base_sha: str | None = None  # the commit that the branch started at
    head_sha: str | None = None
    branch: str | None = None
    worktree: str | None = None  # absolute path
    commits: int = 0
    committed_by_runner: bool = False  # the agent had left work uncommitted
    files_changed: list[str] = Field(default_factory=list)
    diffstat: str = ""  # git's own one-line summary
    undeclared_files: list[str] = Field(default_factory=list)  # changed though the task had not declared them
    tests_touched: list[str] = Field(default_factory=list)  # tests or test settings changed or deleted ("D path")
    verification: list[VerificationRun] = Field(default_factory=list)
    tests_passing: bool | None = None  # None without a TEST_COMMAND
    flaky: bool = False  # failed once, then passed
    sandbox: str = "none"
    excluded_files: list[str] = Field(default_factory=list)  # copied in (such as .env), so never committed
    left_running: list[str] = Field(default_factory=list)  # processes the agent left behind, which were ended
