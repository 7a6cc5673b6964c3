"""Finding the role of a task when its attempt starts. Reads role files and asks git: but for `known`, not for the loop.

What the package and the settings' folder hold is read again only when the folder has changed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from haikud.contracts.attempt import ResolvedRole
from haikud.contracts.decision import Decision
from haikud.contracts.plan import Task
from haikud.contracts.settings import Settings
from haikud.roles.catalogue import (
    REPOSITORY_ROLES_FOLDER,
    UnknownModel,
    find_roles,
    repository_roles,
    resolve_role,
)
from haikud.roles.files import RoleError, RoleFile
from haikud.workspace.git import GitKilled, WorkspaceError
from haikud.workspace.repository import read_files_at

Fingerprint = tuple[tuple[str, int, int], ...]


class NoSuchRole(Exception):  # noqa: N818 - reads as what it is
    """The task's role or model cannot be had any more; the message says why and what to do."""


class RoleLookup:
    """The catalogue, kept while its folder does not change."""

    def __init__(self, settings: Settings) -> None:
        self._seen: Fingerprint | None = None
        self._roles: dict[str, RoleFile] = {}
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Go by these from now on, and read every file again."""
        self._settings = settings
        self._folder = Path(settings.roles_dir) if settings.roles_dir else None
        self._seen = None

    def keep(self) -> None:
        """Go on with the roles there are, whatever their folder holds by now, until it changes again."""
        if self._seen is not None:
            self._seen = _fingerprint(self._folder)

    def catalogue(self) -> Mapping[str, RoleFile]:
        """Role name -> role. Raises RoleError for a broken file."""
        seen = _fingerprint(self._folder)
        if self._seen is None or seen != self._seen:
            self._roles = find_roles(self._folder)
            self._seen = seen
        return self._roles

    def known(self, task: Task, decision: Decision) -> ResolvedRole | None:
        """As `resolve`, quick enough for the event loop; None where files have to be read. Raises NoSuchRole."""
        name = decision.role or task.role
        if self._seen is None or name not in self._roles or _fingerprint(self._folder) != self._seen:
            return None
        return self._resolved(name, task, decision, self._roles)

    def resolve(self, task: Task, decision: Decision) -> ResolvedRole:
        """The role for spec.json, with a reassignment's role and model. Raises NoSuchRole."""
        try:
            roles = self.catalogue()
        except RoleError as error:
            raise _unusable(error) from error
        return self._resolved(decision.role or task.role, task, decision, roles)

    def _resolved(self, name: str, task: Task, decision: Decision, roles: Mapping[str, RoleFile]) -> ResolvedRole:
        try:
            return resolve_role(
                name,
                roles,
                {} if name in roles else self._of_repository(task, roles),
                models=self._settings.models,
                default_model=self._settings.default_model,
                task_model=decision.model or task.model,
            )
        except RoleError as error:
            raise _unusable(error) from error
        except UnknownModel as error:
            known = ", ".join(self._settings.models)
            raise NoSuchRole(f"unknown model {error}; known are {known}, and model ids") from error
        except KeyError as error:
            raise NoSuchRole(f"there is no role {name!r}; known are {', '.join(sorted(roles))}") from error
        except GitKilled as error:  # not the task's fault: its start is tried again
            raise InterruptedError(errno.EINTR, str(error)) from error
        except WorkspaceError as error:
            raise NoSuchRole(f"the repository's roles cannot be read: {error}") from error

    @staticmethod
    def _of_repository(task: Task, roles: Mapping[str, RoleFile]) -> Mapping[str, RoleFile]:
        where = task.repository
        if where is None:
            return {}
        files = read_files_at(where.git_common_dir, where.base_sha, REPOSITORY_ROLES_FOLDER)
        return repository_roles(files, roles)[0]


def _unusable(error: RoleError) -> NoSuchRole:
    return NoSuchRole(f"a role file cannot be used: {error}; mend it, then retry")


def _fingerprint(folder: Path | None) -> Fingerprint:
    """Names, times and sizes of the files in a folder; empty where it cannot be read (reading it says why)."""
    if folder is None:
        return ()
    try:
        with os.scandir(folder) as listing:
            found = [(one.name, one.stat()) for one in listing]
    except OSError:
        return ()
    return tuple(sorted((name, status.st_mtime_ns, status.st_size) for name, status in found))
