"""Which repository each task works in: the stated one, the settings', or the checkout that contains the spool.

Asks git, read-only, at most once per repository and plan. A stated path is absolute: a daemon has no sensible folder
to take a relative one from, and `~` would be the daemon's home, not the sender's. Faults and warnings go to the notes.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.plan import RepositoryAtAdmission
from haikud.contracts.settings import Settings
from haikud.engine.admission.fields import Notes, Stated
from haikud.engine.admission.rejection import FaultCode
from haikud.engine.admission.values import quoted
from haikud.engine.listed_repositories import why_not_worked_in
from haikud.engine.machine.faults import FOR_ALL, kind_of
from haikud.roles.catalogue import REPOSITORY_ROLES_FOLDER, repository_roles
from haikud.roles.files import RoleFile
from haikud.workspace.git import GitKilled, WorkspaceError
from haikud.workspace.looks import RecentLooks
from haikud.workspace.repository import (
    NotAllowed,
    NotARepository,
    RepositoryFacts,
    Whereabouts,
    inspect_repository,
    read_files_at,
)

_LOOKS = RecentLooks()
"""Of this daemon: plans come in bursts."""

_EXPECTED = "the absolute path of a git repository on this machine, with at least one commit"


@dataclass(frozen=True)
class Candidate:
    """A path that may be a repository, and who says so."""

    path: str
    pointer: str
    origin: str  # request, settings or spool


class Repositories:
    """The repositories of one request, each inspected once."""

    def __init__(self, settings: Settings, spool_root: Path, notes: Notes) -> None:
        self._settings = settings
        self._spool_root = spool_root
        self._notes = notes
        self._inspected: dict[tuple[str, str | None], RepositoryFacts | None] = {}
        self._roles: dict[str, Mapping[str, RoleFile]] = {}

    def find(self, stated: Stated | None, main_branch: Stated | None, body_pointer: str) -> RepositoryFacts | None:
        """The repository of a task; None and a fault where there is none."""
        candidate = self._candidate(stated, body_pointer)
        branch = main_branch.text if main_branch else self._settings.main_branch
        key = (candidate.path, branch)
        if key not in self._inspected:
            self._inspected[key] = self._inspect(candidate, branch, main_branch)
        return self._inspected[key]

    def find_if_any(self, stated: Stated | None) -> RepositoryFacts | None:
        """The repository for a task that can do without one; None where there is none."""
        path = self._candidate(stated, "").path
        try:
            if not path.startswith("/"):
                return None
            return inspect_repository(path, self._settings.main_branch, why_not=self._why_not, looks=_LOOKS)
        except GitKilled as error:
            raise InterruptedError(errno.EINTR, str(error), path) from error
        except (WorkspaceError, ValueError):
            return None
        except OSError as error:
            if kind_of(error) in FOR_ALL:
                raise
            return None

    def roles(self, facts: RepositoryFacts, catalogue: Mapping[str, RoleFile]) -> Mapping[str, RoleFile]:
        """The roles in the repository's `.claude/agents/` at the base commit."""
        if facts.base_sha not in self._roles:
            try:
                files = read_files_at(facts.git_common_dir, facts.base_sha, REPOSITORY_ROLES_FOLDER)
            except GitKilled as error:
                raise InterruptedError(errno.EINTR, str(error), facts.top) from error
            except WorkspaceError as error:
                self._notes.warn(f"the repository's roles cannot be read: {error}")
                files = {}
            roles, warnings = repository_roles(files, catalogue)
            for warning in warnings:
                self._notes.warn(warning)
            self._roles[facts.base_sha] = roles
        return self._roles[facts.base_sha]

    def _candidate(self, stated: Stated | None, body_pointer: str) -> Candidate:
        if stated is not None:
            return Candidate(stated.text, stated.pointer, "request")
        where = f"{body_pointer}/repository"
        if self._settings.default_repository:
            return Candidate(self._settings.default_repository, where, "settings")
        return Candidate(str(self._spool_root), where, "spool")

    def _inspect(self, candidate: Candidate, branch: str | None, main_branch: Stated | None) -> RepositoryFacts | None:
        path = candidate.path
        if not path.startswith("/"):
            self._fault(candidate, "which is not absolute", "write the whole path, from / on")
            return None
        try:
            facts = inspect_repository(path, branch, why_not=self._why_not, looks=_LOOKS)
        except NotAllowed as error:
            self._refuse(candidate, error.why)
            return None
        except NotARepository as error:
            if main_branch and "branch" in error.why:
                expected = "a branch of the repository"
                fix = "name one of its branches, or leave it out"
                found = f"{quoted(main_branch.text)}: {error}"
                self._notes.add(FaultCode.BAD_VALUE, main_branch.pointer, found=found, expected=expected, fix=fix)
            else:
                self._fault(candidate, f"which {error.why}", _fix(candidate))
            return None
        except GitKilled as error:  # not the request's fault: it is looked at again
            raise InterruptedError(errno.EINTR, str(error), path) from error
        except WorkspaceError as error:
            self._fault(candidate, f"which git cannot read: {error}", _fix(candidate))
            return None
        except (OSError, ValueError) as error:
            if kind_of(error) in FOR_ALL:
                raise  # the machine's fault, and not the request's
            self._fault(candidate, f"which cannot be looked at: {error}", _fix(candidate))
            return None
        self._warn_about(candidate, facts)
        return facts

    def _why_not(self, where: Whereabouts) -> str | None:
        return why_not_worked_in(where, self._settings, self._spool_root)

    def _refuse(self, candidate: Candidate, why: str) -> None:
        whose = {"settings": "the settings' default_repository ", "spool": "the spool's own checkout "}
        listed = ", ".join(self._settings.repositories)
        self._notes.add(
            FaultCode.REPOSITORY_NOT_ALLOWED,
            candidate.pointer,
            found=f"{whose.get(candidate.origin, '')}{quoted(candidate.path)}, which {why}",
            expected=f"a repository in one of {listed}" if listed else "a repository of the daemon's user",
            fix="name another repository, or have its folder added to `repositories` in the daemon's settings",
        )

    def _warn_about(self, candidate: Candidate, facts: RepositoryFacts) -> None:
        if facts.dirty:
            self._notes.warn(
                f"{facts.top} has uncommitted changes; the work starts at {facts.base_sha[:12]} without them"
            )
        if facts.detached:
            self._notes.warn(f"{facts.top} is on no branch; the work starts at its commit {facts.base_sha[:12]}")
        if candidate.origin == "request" and Path(candidate.path).resolve() != Path(facts.top):
            self._notes.warn(f"{candidate.pointer} {quoted(candidate.path)} lies in the repository {facts.top}")

    def _fault(self, candidate: Candidate, why: str, fix: str) -> None:
        if candidate.origin == "spool":
            code = FaultCode.NO_REPOSITORY
            found = (
                f"no repository: none is stated, no default_repository is set, and the spool is {candidate.path}, {why}"
            )
        elif candidate.origin == "settings":
            code = FaultCode.NO_REPOSITORY
            found = f"no repository, and the settings' default_repository {quoted(candidate.path)}, {why}"
        else:
            code = FaultCode.BAD_REPOSITORY
            found = f"{quoted(candidate.path)}, {why}"
        self._notes.add(code, candidate.pointer, found=found, expected=_EXPECTED, fix=fix)


def _fix(candidate: Candidate) -> str:
    if candidate.origin != "request":
        return 'add "repository": "/path/of/the/checkout", or run `haikud submit` inside the checkout'
    parent = next((p for p in Path(candidate.path).parents if p != Path("/") and _is_checkout(p)), None)
    return f"write {parent}" if parent else "name an existing checkout, or run `git init` and commit there"


def _is_checkout(path: Path) -> bool:
    try:
        return (path / ".git").exists()
    except OSError:
        return False


def at_admission(facts: RepositoryFacts) -> RepositoryAtAdmission:
    """What plan.json keeps of a repository."""
    return RepositoryAtAdmission(
        path=facts.top,
        git_common_dir=facts.git_common_dir,
        main_branch=facts.main_branch,
        base_sha=facts.base_sha,
    )
