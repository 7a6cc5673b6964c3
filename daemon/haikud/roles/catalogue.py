"""The catalogue: every role that is known, and the one that a task gets.

Roles come from the package and from the settings' folder (which may replace a package role); those of a repository,
read at the base commit, may add prompts and narrow tools, never a command, a wider tool or a known role's name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from haikud.contracts.attempt import ResolvedRole
from haikud.roles.files import RoleError, RoleFile, parse_role
from haikud.roles.tool_names import ALL_TOOLS

REPOSITORY_ROLES_FOLDER = ".claude/agents"
"""Where a repository keeps its roles; read at the base commit with `workspace.repository.read_files_at`."""

MOST_UNUSABLE = 5
"""Files of a repository that are named where they cannot be used; beyond, only how many."""

PYTHON = "{python}"
"""A word of a package role's command."""

WIDEST_ROLE = "parallel-task-executor"
"""The role whose tools a repository's roles may have at most."""


def find_roles(roles_dir: Path | None = None) -> dict[str, RoleFile]:
    """Role name -> role: the package's, and over them those of `roles_dir` (its *.md files).

    A command's first word that is a relative path with a slash is taken from the role file's folder. Raises RoleError
    for a file that cannot be used, for two roles of one name, and for a folder that cannot be read.
    """
    roles: dict[str, RoleFile] = {}
    for entry in resources.files("haikud.roles").joinpath("builtin").iterdir():
        if entry.name.endswith(".md"):
            role = parse_role(entry.read_bytes(), name_hint=entry.name, source="package")
            roles[role.name] = _with_interpreter(role)
    own: dict[str, RoleFile] = {}
    for path in _role_files(roles_dir) if roles_dir else []:
        if not path.is_file():  # opening a FIFO would wait for ever
            raise RoleError(str(path), 0, "is no regular file")
        try:
            role = parse_role(path.read_bytes(), name_hint=str(path), source="settings")
        except OSError as error:
            raise RoleError(str(path), 0, f"cannot be read: {error.strerror}") from error
        if role.name in own:
            raise RoleError(str(path), 0, f"the role {role.name!r} is in {own[role.name].path} already")
        own[role.name] = _with_whole_command(role, path.parent)
    return roles | own


def _role_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".md" and not path.name.startswith("."))
    except OSError as error:
        raise RoleError(str(folder), 0, f"the folder of roles cannot be read: {error.strerror}") from error


def _with_interpreter(role: RoleFile) -> RoleFile:
    """A package role's `{python}` is the interpreter that haikud runs with; in other roles it is a word like others."""
    if not role.command:
        return role
    command = tuple(sys.executable if word == PYTHON else word for word in role.command)
    return dataclasses.replace(role, command=command)


def _with_whole_command(role: RoleFile, folder: Path) -> RoleFile:
    if not role.command or "/" not in role.command[0] or role.command[0].startswith("/"):
        return role
    program = str((folder / role.command[0]).resolve())
    return dataclasses.replace(role, command=(program, *role.command[1:]))


def repository_roles(
    files: Mapping[str, bytes], catalogue: Mapping[str, RoleFile]
) -> tuple[dict[str, RoleFile], list[str]]:
    """The usable roles in a repository's `.claude/agents/` (path -> bytes), narrowed, and warnings for the rest.

    What a usable role cannot have stands in its own `warnings`: it matters only to a task that uses it. Never raises:
    a repository must not be able to stop admission by a broken file.
    """
    roles: dict[str, RoleFile] = {}
    warnings: list[str] = []
    for name, text in sorted(files.items()):
        if not name.endswith(".md") or name.rpartition("/")[2].lower() == "readme.md":
            continue
        try:
            role = parse_role(text, name_hint=f"{REPOSITORY_ROLES_FOLDER}/{name}", source="repository")
        except RoleError as error:
            warnings.append(f"a role of the repository is not usable: {error}")
            continue
        if role.name in catalogue or role.name in roles:
            warnings.append(f"{role.path}: the name {role.name!r} is taken by a role that a repository cannot replace")
            continue
        roles[role.name] = _narrowed(role, catalogue)
    beyond = len(warnings) - MOST_UNUSABLE
    if beyond > 0:
        warnings[MOST_UNUSABLE:] = [f"... and {beyond} more role files of the repository are not usable"]
    return roles, warnings


def _refused_keys(role: RoleFile) -> tuple[str, ...]:
    stated = {
        "command": role.command,
        "credential": role.credential,
        "workspace": role.workspace == "none",
        "operations": role.operations,
        "model": role.model,
    }
    keys = ", ".join(key for key, value in stated.items() if value)
    return (f"{role.path}: a repository's role cannot set {keys}; ignored",) if keys else ()


def _narrowed(role: RoleFile, catalogue: Mapping[str, RoleFile]) -> RoleFile:
    widest = catalogue.get(WIDEST_ROLE)
    allowed = widest.tools if widest and widest.tools is not None else ALL_TOOLS
    wanted = allowed if role.tools is None else role.tools
    return RoleFile(
        name=role.name,
        description=role.description,
        prompt=role.prompt,
        tools=tuple(tool for tool in allowed if tool in wanted),
        source=role.source,
        path=role.path,
        warnings=(*role.warnings, *_refused_keys(role)),
    )


class UnknownModel(LookupError):  # noqa: N818 - a choice that does not exist, as KeyError is
    """A model name that is neither in the settings' `models` nor a model id."""


def resolve_model(name: str, models: Mapping[str, str]) -> str:
    """The model id for a name of the settings' `models`, or for an id (which has a `-`). Raises UnknownModel."""
    if name in models:
        return models[name]
    if "-" in name and not any(c.isspace() for c in name):
        return name
    raise UnknownModel(name)


def resolve_role(
    name: str,
    catalogue: Mapping[str, RoleFile],
    from_repository: Mapping[str, RoleFile],
    *,
    models: Mapping[str, str],
    default_model: str,
    task_model: str | None = None,
) -> ResolvedRole:
    """The role for spec.json. `from_repository` is what `repository_roles` returned.

    The task's model goes before the role's, the role's before the default. A role's model that the settings do not
    know (another tool's nickname) gives the default one. Raises KeyError for an unknown role, UnknownModel for a
    task's or the settings' unknown model.
    """
    role = catalogue[name] if name in catalogue else from_repository[name]
    model = resolve_model(task_model or default_model, models)
    if role.model and not task_model:
        with contextlib.suppress(UnknownModel):
            model = resolve_model(role.model, models)
    return ResolvedRole(
        name=role.name,
        description=role.description,
        prompt=role.prompt,
        tools=list(ALL_TOOLS if role.tools is None else role.tools),
        model=model,
        command=list(role.command) if role.command else None,
        credential=role.credential,
        workspace=role.workspace,
        operations=list(role.operations),
        source=role.source,
    )
