"""The catalogue: every role that is known, and the one that a task gets.

Roles come from the package and from the settings' folder (which may replace a package role); those of a repository,
read at the base commit, may add prompts and narrow tools, never a command, a wider tool or a known role's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from haikud.contracts.attempt import ResolvedRole
from haikud.roles.files import RoleFile

REPOSITORY_ROLES_FOLDER = ".claude/agents"
"""Where a repository keeps its roles; read at the base commit with `workspace.repository.read_files_at`."""


def find_roles(roles_dir: Path | None = None) -> dict[str, RoleFile]:
    """Role name -> role: the package's, and over them those of `roles_dir`. Raises RoleError for a broken file."""
    raise NotImplementedError


def repository_roles(
    files: Mapping[str, bytes], catalogue: Mapping[str, RoleFile]
) -> tuple[dict[str, RoleFile], list[str]]:
    """The usable roles in a repository's `.claude/agents/` (file name -> bytes), narrowed, and warnings for the rest.

    Never raises: a repository must not be able to stop admission by a broken file.
    """
    raise NotImplementedError


def resolve_role(
    name: str,
    catalogue: Mapping[str, RoleFile],
    from_repository: Mapping[str, RoleFile],
    *,
    models: Mapping[str, str],
    default_model: str,
    task_model: str | None = None,
) -> ResolvedRole:
    """The role for spec.json. `from_repository` is what `repository_roles` returned; KeyError for an unknown name."""
    raise NotImplementedError
