"""Role files: Markdown with YAML front matter, the format of Claude Code's sub-agents, with a few keys of ours.

`name, description, tools, model` are Claude Code's; `command, credential, workspace, repository, operations` are
ours. The body is the agent's system prompt. A file that cannot be used raises `RoleError` with path and line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class RoleError(Exception):
    """A role file that cannot be used: `path`, `line` (0: unknown) and why."""

    def __init__(self, path: str, line: int, why: str) -> None:
        self.path = path
        self.line = line
        self.why = why
        super().__init__(f"{path}:{line}: {why}" if line else f"{path}: {why}")


@dataclass(frozen=True)
class RoleFile:
    """A role as its file states it."""

    name: str
    description: str = ""
    prompt: str = ""
    tools: tuple[str, ...] | None = None  # None: not stated, all of them
    model: str | None = None  # a name of the settings' models, a model id, or None for the default
    command: tuple[str, ...] | None = None
    credential: bool = False
    workspace: Literal["worktree", "none"] = "worktree"
    needs_repository: bool = True  # whether admission must find a repository, even without a worktree
    operations: tuple[str, ...] = ()
    source: str = "package"  # package, settings or repository
    path: str = ""
    warnings: tuple[str, ...] = ()


def parse_role(text: bytes, *, name_hint: str, source: str) -> RoleFile:
    """The role in a file's bytes. `name_hint` is the file's path or name. Raises RoleError."""
    raise NotImplementedError
