"""setup: a worktree (or an empty folder) in which the agent can start.

The issue if one is asked for, branch and worktree, the branches of the tasks it depends on, files to copy such as
.env, the templates that the task's files name, the agent's own git, and the setup command, which is untrusted already.
A merge conflict is a question, not a failure: somebody has to decide which side is right.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from haikud.agent.attempt import Attempt
from haikud.agent.conflict_question import conflict_question
from haikud.agent.endings import Escalated, Failed
from haikud.agent.environment import agent_environment, make_private_folders
from haikud.agent.errors import AgentError
from haikud.agent.guidance import text_of
from haikud.agent.setup_command import SETUP_DONE, run_setup_command
from haikud.agent.task_issue import open_issue
from haikud.agent.walls import sandbox_of
from haikud.agent.worktree import attach, commit_identity, git_step, git_work, order_of, prepare
from haikud.contracts.error_report import ErrorType
from haikud.contracts.plan import FileSpec
from haikud.contracts.secret_shapes import looks_secret
from haikud.sandbox.egress.within import reach_out
from haikud.sandbox.environment import API_NAMES
from haikud.sandbox.isolation import UnknownSandbox
from haikud.spool.durable import fsync_folder, remove_if_there, write_quickly
from haikud.spool.models import dump_as_is
from haikud.spool.reading import holds
from haikud.workspace.commits import MergeConflict, merge_dependencies
from haikud.workspace.copies import copy_files
from haikud.workspace.repository_settings import ask_settings

_PREPARING = "Preparing the worktree"


def set_up(attempt: Attempt) -> None:
    """Make the attempt's place of work. Raises Failed, Escalated, Stopped."""
    if attempt.spec.workspace is not None:
        with git_work(_PREPARING):
            attempt.asked_of_git.settings = ask_settings(attempt.spec.workspace.git_common_dir)
    make_private_folders(attempt.paths)
    open_issue(attempt)
    if attempt.spec.guidance:
        write_quickly(attempt.paths.guidance, text_of(attempt.spec.guidance).encode("utf-8", "backslashreplace"))
    if attempt.spec.workspace is None:
        attempt.worktree = attempt.paths.workspace
        attempt.worktree.mkdir(mode=0o700, exist_ok=True)
        is_new = True
    else:
        is_new = _prepare(attempt)
    _put_up_walls(attempt)
    environment = agent_environment(
        attempt.spec,
        attempt.paths,
        worktree=attempt.worktree,
        identity=attempt.identity,
        host=os.environ,
        api_key=attempt.api_key,
        issue_number=attempt.issue[0] if attempt.issue else attempt.spec.task.issue_number,
    )
    attempt.environment = reach_out(environment, attempt.sandbox)
    _name_passed_secrets(attempt)
    if attempt.spec.workspace is not None:
        _copy_and_fill(attempt)
        attach(attempt, is_new=is_new)
    attempt.check_stop()
    run_setup_command(attempt, is_new=is_new)


def _put_up_walls(attempt: Attempt) -> None:
    """Fail closed: what was to be isolated must not run without."""
    try:
        attempt.sandbox = sandbox_of(attempt)
    except UnknownSandbox as error:
        action = "Correct the sandbox's name in the settings"
        raise Failed(
            AgentError(ErrorType.AGENT_ERROR, "UNKNOWN_SANDBOX", str(error), suggested_action=action)
        ) from error


def _prepare(attempt: Attempt) -> bool:
    order = order_of(attempt)
    attempt.worktree = Path(order.worktree)
    if not attempt.worktree.exists() and remove_if_there(attempt.task_paths.folder / SETUP_DONE):
        fsync_folder(attempt.task_paths.folder)
    is_new = not attempt.worktree.exists()  # asked before the first try: the second finds what the first has made
    # Where more than git's files comes into it, it is finished first: what is ours then is known to be.
    leave_open = not (order.merge_refs or attempt.spec.git.copy_files or _templates_of(attempt))
    prepared = prepare(attempt, _PREPARING, leave_open=leave_open)
    with git_work(_PREPARING):
        attempt.identity = commit_identity(attempt)
    for warning in prepared.warnings:
        attempt.warn(warning)
    attempt.start_sha = prepared.start_sha
    attempt.git = "repository"
    attempt.log.line(f"worktree {order.worktree} on {order.branch} ({'new' if prepared.created else 'continued'})")

    def merge() -> str:
        try:
            return merge_dependencies(order, order.merge_refs, attempt.identity)
        except MergeConflict as conflict:
            raise Escalated(conflict_question(attempt.spec, order, conflict)) from conflict

    if prepared.begun is None:
        attempt.start_sha = git_step(attempt, _PREPARING, merge)
    attempt.evidence.update(base_sha=attempt.start_sha)
    return prepared.created or is_new


def _name_passed_secrets(attempt: Attempt) -> None:
    """The settings may name what they like; that a credential is among it should show."""
    spec = attempt.spec
    named = [*spec.pass_environment, *spec.set_environment]
    if refused := sorted(API_NAMES & set(named)):
        attempt.warn(f"environment: {', '.join(refused)} is never passed on; a role asks for it with `credential`")
    secret = sorted(name for name in attempt.environment.keys() & set(named) if looks_secret(name))
    if spec.withheld_environment:
        kept = ", ".join(spec.withheld_environment)
        attempt.warn(f"environment: {kept} is not passed on: secrets.names keeps it from agents")
    if secret:
        attempt.log.line(f"the settings give the agent {', '.join(secret)}: by its name a credential")


def _copy_and_fill(attempt: Attempt) -> None:
    order = order_of(attempt)
    with git_work("Copying files into the worktree"):
        attempt.copied = copy_files(order.repository, order.worktree, attempt.spec.git.copy_files)
    if attempt.copied:
        attempt.log.line(f"copied {', '.join(attempt.copied)}")
    if wanted := _templates_of(attempt):
        _fill_templates(attempt, wanted)


def _templates_of(attempt: Attempt) -> list[FileSpec]:
    return [file for file in attempt.spec.task.files if file.template]


def _fill_templates(attempt: Attempt, files: list[FileSpec]) -> None:
    from haikud.roles.templates import TemplateError, find_file_templates

    folder = attempt.spec.templates_dir
    try:
        templates = find_file_templates(Path(folder) if folder else None)
    except TemplateError as error:
        attempt.warn(f"file templates were not used: {error}")
        return
    hints: list[str] = []
    for file in files:
        template = templates.get(file.template or "")
        if template is None:
            known = ", ".join(sorted(templates)) or "none"
            attempt.warn(f"{file.path}: unknown template {file.template!r}; known are {known}")
            hints.append(f"{file.path} is to be made from a template {file.template!r} that haikud does not have")
        elif not _write_new(attempt.worktree, file.path, content := template.content_for(file.path).encode()):
            attempt.log.line(f"{file.path} is there already; its template {file.template} was not copied in")
            if holds(attempt.worktree / file.path, content):  # an attempt before this one did
                attempt.templates[file.path] = content
        else:
            attempt.templates[file.path] = content
            attempt.log.line(f"{file.path} begins as the template {file.template}")
    if hints:
        _hint(attempt, hints)


def _write_new(worktree: Path, name: str, data: bytes) -> bool:
    """Write a file that is not there yet, beneath the worktree; False where it is, or lies behind a symlink.

    A whole file or none: half a template would look like the agent's work to whoever comes after a crash.
    """
    path = worktree / name
    root = worktree.resolve()
    if not path.parent.resolve().is_relative_to(root):
        return False
    temporary = path.with_name(f".{path.name}.haikud-copy")
    with suppress(FileNotFoundError, NotADirectoryError):  # of an attempt that was killed here
        temporary.unlink()
    if os.path.lexists(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    temporary.rename(path)
    return True


def _hint(attempt: Attempt, hints: list[str]) -> None:
    context = attempt.assignment.context
    extra = {**context.extra, "hints": [*context.extra.get("hints", []), *hints]}
    attempt.assignment = attempt.assignment.model_copy(update={"context": context.model_copy(update={"extra": extra})})
    write_quickly(attempt.paths.assignment, dump_as_is(attempt.assignment))
