"""Whether a plan is ready to be delegated: the guide's checklist for each task, with what the machine says to it.

Admission's rules have passed when this is asked. The environment is looked at here and now, so it holds for this
machine and this user: the daemon's may differ. Reads only; what cannot be looked at counts as not there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.plan import Plan, Task
from haikud.contracts.routing import Routed
from haikud.contracts.settings import Settings
from haikud.engine.routing.advice import Advice, Check, advise, estimate_tokens
from haikud.engine.routing.speaking import is_open, needs_model
from haikud.engine.routing.tables import CHECKLIST
from haikud.roles.catalogue import find_roles
from haikud.roles.files import RoleFile
from haikud.workspace.git import WorkspaceError
from haikud.workspace.repository import inspect_repository

_FILES, _DECISIONS, _ENVIRONMENT = CHECKLIST[1], CHECKLIST[4], CHECKLIST[6]
_OF_WHAT_IS_THERE = frozenset({"modify", "update", "edit", "change", "delete", "remove", "rename", "move"})
_BYTES_PER_TOKEN = 4
_COMMAND_END = re.compile(r"&&|\|\||[;|\n]")
_SHELL_WORDS = frozenset(
    (
        *(
            "!",
            ".",
            ":",
            "[",
            "[[",
            "{",
            "}",
            "break",
            "case",
            "cd",
            "command",
            "continue",
            "do",
            "done",
            "echo",
            "elif",
        ),
        *("else", "esac", "eval", "exec", "exit", "export", "false", "fi", "for", "if", "local", "printf", "pushd"),
        *("popd", "read", "return", "set", "shift", "source", "test", "then", "time", "trap", "true", "type", "ulimit"),
        *("umask", "unset", "until", "wait", "while"),
    )
)


@dataclass(frozen=True)
class Readiness:
    """One task: advice, the whole checklist, and about how many tokens its words and its declared files are."""

    task: Task
    advice: Advice
    checklist: tuple[Check, ...]
    runs_on_model: bool
    is_open: bool  # whether Haiku would do it by default, and not by the plan's word
    word_tokens: int
    file_tokens: int

    @property
    def is_haikus(self) -> bool:
        """Whether routing has nothing against the model that will run."""
        return not self.is_open or self.advice.model is Routed.HAIKU

    @property
    def is_ready(self) -> bool:
        """Whether every line of the checklist is ticked, and Haiku fits."""
        return self.is_haikus and all(check.ok for check in self.checklist)


def look(plan: Plan, settings: Settings, environ: Mapping[str, str]) -> list[Readiness]:
    """The plan's tasks, in its order."""
    catalogue = find_roles(Path(settings.roles_dir) if settings.roles_dir else None)
    search = settings.environment.set_values.get("PATH") or environ.get("PATH") or os.defpath
    dirty: dict[str, str | None] = {}
    found = []
    for task in plan.tasks:
        role = catalogue.get(task.role) or RoleFile(task.role)  # a repository's own has neither command nor operations
        runs_on_model = needs_model(task, role)
        advice = advise(task, needs_model=runs_on_model)
        missing = _repository_fault(task, dirty) or _program_fault(task, search)
        lines = {check.name: check for check in advice.checklist}
        absent = _absent_file(task)
        if absent and runs_on_model and lines[_FILES].ok:
            lines[_FILES] = Check(_FILES, ok=False, reason=absent)
        lines[_ENVIRONMENT] = Check(_ENVIRONMENT, ok=missing is None, reason=missing or _environment_reason(task))
        by_default = is_open(task, role, settings)
        if runs_on_model and not by_default and not lines[_DECISIONS].ok:
            whose = task.model or role.model or settings.default_model
            lines[_DECISIONS] = Check(_DECISIONS, ok=True, reason=f"{lines[_DECISIONS].reason}; it is given to {whose}")
        found.append(
            Readiness(
                task=task,
                advice=advice,
                checklist=tuple(lines.values()),
                runs_on_model=runs_on_model,
                is_open=by_default,
                word_tokens=estimate_tokens(task),
                file_tokens=_tokens_of_files(task),
            )
        )
    return found


def _absent_file(task: Task) -> str | None:
    """A declared file that is to be changed and is not there. What a dependency may make is not looked for."""
    where = task.repository
    if where is None or task.dependencies or where.path == where.git_common_dir:  # a bare one has no files to look at
        return None
    for spec in task.files:
        wanted = (spec.operation or "").lower()
        if wanted in _OF_WHAT_IS_THERE and not os.path.lexists(Path(where.path) / spec.path):
            return f"{spec.path} is not there to {wanted}"
    return None


def _repository_fault(task: Task, known: dict[str, str | None]) -> str | None:
    """What is wrong with the checkout. That it is one, and has the branch to start from, admission has seen."""
    if task.repository is None:
        return None
    top = task.repository.path
    if top not in known:
        try:
            facts = inspect_repository(top)
            known[top] = "it has changes that are not committed: the agent will not see them" if facts.dirty else None
        except (WorkspaceError, OSError) as error:
            known[top] = str(error)
    return known[top]


def _program_fault(task: Task, search: str) -> str | None:
    """The first program of its commands that is not to be found."""
    context = task.context
    where = Path(task.repository.path) if task.repository else None
    for name, command in (("setup_command", context.setup_command), ("test_command", context.test_command)):
        if command is None or where is None:
            continue
        for program in programs(command):
            if "/" in program and not program.startswith("/") and context.setup_command:
                continue  # the setup may make it
            if not _is_there(program, where, search):
                return f"{name}: there is no {program}"
    return None


def programs(command: str) -> Iterator[str]:
    """The programs that a shell command starts, as far as its words tell; a line that no shell could read has none."""
    for part in _COMMAND_END.split(command):
        try:
            words = shlex.split(part.strip().strip("()"), comments=True)
        except ValueError:
            return
        while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0]):
            words = words[1:]
        if words and words[0] not in _SHELL_WORDS and "$" not in words[0]:
            yield words[0]
        elif words and words[0] in {"cd", "pushd"}:
            return  # what follows is looked for elsewhere


def _is_there(program: str, where: Path, search: str) -> bool:
    if "/" in program:
        return os.access(where / program, os.X_OK)
    return shutil.which(program, path=search) is not None


def _environment_reason(task: Task) -> str:
    if task.repository is None:
        return "it needs no repository"
    command = task.context.test_command
    return f"{task.repository.path} is clean" + (f", and `{next(programs(command), '')}` is there" if command else "")


def _tokens_of_files(task: Task) -> int:
    """About how many tokens the declared files and those worth reading are, as they lie in the checkout."""
    if task.repository is None:
        return 0
    size = 0
    for path in {*(spec.path for spec in task.files), *task.context.files}:
        try:
            status = (Path(task.repository.path) / path).lstat()
        except (OSError, ValueError):
            continue
        size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size // _BYTES_PER_TOKEN
