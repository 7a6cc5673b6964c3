"""Preparing a plan: everything that stands between a dropped file's bytes and `plans/PLAN/plan.json`.

`prepare_plan` reads, recognises, normalises and checks a request, asks git its read-only questions (so call it off
the event loop), and returns the whole plan or raises `Rejected` with every fault. It writes nothing, and needs no
daemon: `haikud check` uses it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from haikud.contracts.base import JsonObject
from haikud.contracts.decision import Decision
from haikud.contracts.error_report import FieldFault
from haikud.contracts.format import SpoolFormat
from haikud.contracts.ids import task_ref
from haikud.contracts.masking import active_masker
from haikud.contracts.plan import Plan, RequestShape, Task
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.costs.main_agent import read_main_agent
from haikud.engine.admission.documents import DocumentError, parse_document
from haikud.engine.admission.fields import Stated
from haikud.engine.admission.identity import Identity, identify
from haikud.engine.admission.normalise import Draft, normalise
from haikud.engine.admission.references import check_payload_fields, fields_without_value
from haikud.engine.admission.rejection import FaultCode, Rejected, make_fault, printable
from haikud.engine.admission.repositories import Repositories, at_admission
from haikud.engine.admission.role_choice import check_model, check_operation, choose_role
from haikud.engine.admission.shapes import UnknownShape, recognise
from haikud.engine.admission.task_fields import DraftTask
from haikud.engine.admission.values import shown
from haikud.engine.machine.faults import FOR_ALL, kind_of
from haikud.engine.routing.speaking import advice_for, warning_of
from haikud.roles.files import RoleFile
from haikud.roles.templates import TaskTemplate, TemplateError, find_file_templates, find_templates
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, read_model
from haikud.workspace.git import WorkspaceError
from haikud.workspace.repository import RepositoryFacts
from haikud.workspace.vacancy import Obstacle, find_obstacles
from haikud.workspace.worktrees import branch_name, worktree_path


def content_sha256(data: bytes) -> str:
    """The SHA-256 of a request's bytes, in hex: what tells the same request from another one under its id."""
    return hashlib.sha256(data).hexdigest()


def prepare_plan(
    data: bytes,
    name: str,
    token: str,
    *,
    settings: Settings,
    spool_root: Path,
    now: datetime,
    catalogue: Mapping[str, RoleFile],
    is_taken: Callable[[str], bool],
) -> Plan:
    """The plan that a dropped file asks for. Raises `Rejected`, and nothing else for any input.

    `name` is the file's name as dropped, `token` that of the taken file, `catalogue` what `find_roles` returned.
    `is_taken` tells whether a plan id is used: an id made from the file's stem avoids those; a stated id is not
    checked here (the daemon compares contents). Waits for git: not for the event loop (or `AsksGit` within
    `no_git`).
    """
    document = _document(data, name, settings, is_taken)
    identity = identify(document, name, is_taken)
    try:
        recognised = recognise(document)
    except UnknownShape as error:
        first = [identity.fault] if identity.fault else []
        raise _rejected([*first, error.fault], name, identity) from error
    templates, file_templates, trouble = _templates(settings, needed=recognised.shape is RequestShape.TEMPLATE_REQUEST)
    if trouble and recognised.shape is RequestShape.TEMPLATE_REQUEST:
        raise _rejected([trouble], name, identity, recognised.shape)
    draft = normalise(
        document,
        recognised,
        identity,
        templates=templates,
        file_templates=file_templates,
        most_tasks=settings.max_tasks_per_plan,
    )
    if trouble:
        draft.notes.warn(f"the templates cannot be used: {trouble.found}")
    tasks = _Preparation(draft, identity, settings, spool_root, catalogue).tasks()
    if draft.notes.faults:
        raise _rejected(draft.notes.faults, name, identity, draft.shape, left_out=draft.notes.left_out)
    kinds = sorted({span.kind for span in active_masker().spans(data)})
    if kinds:
        why = "it is kept as it was dropped, and masked only in what haikud makes of it; give it to no request"
        draft.notes.warn(f"the request holds what looks like a secret ({', '.join(kinds)}): {why}")
    main_agent, warnings = read_main_agent(draft.metadata, settings, now)
    for warning in warnings:
        draft.notes.warn(warning)
    return Plan(
        id=identity.plan_id,
        shape=draft.shape,
        sender=identity.sender or "main-agent",
        correlation_id=identity.correlation_id or identity.plan_id,
        admitted_at=now,
        token=token,
        content_sha256=content_sha256(data),
        request_file="request.json" if PurePath(name).suffix.lower() == ".json" else "request.yaml",
        dropped_as=printable(name),
        tasks=tasks,
        metadata=draft.metadata,
        main_agent=main_agent,
        extra=draft.notes.extra,
        warnings=draft.notes.warnings,
    )


def first_decisions(plan: Plan, now: datetime) -> dict[str, Decision]:
    """Task id -> its decision number 1: `waiting` where it has dependencies, else `queued`."""
    return {
        task.id: Decision(
            number=1,
            at=now,
            ref=task.ref,
            state=TaskState.WAITING if task.dependencies else TaskState.QUEUED,
            reason=f"admitted; waits for {', '.join(task.dependencies)}" if task.dependencies else "admitted",
        )
        for task in plan.tasks
    }


def _document(data: bytes, name: str, settings: Settings, is_taken: Callable[[str], bool]) -> Any:
    if len(data) > settings.max_request_bytes:
        fault = make_fault(
            FaultCode.TOO_LARGE,
            "",
            found=f"{len(data)} bytes",
            expected=f"at most {settings.max_request_bytes} bytes",
            fix="name files instead of including them, or raise max_request_bytes in the settings",
        )
        raise _rejected([fault], name, identify(None, name, is_taken))
    try:
        return parse_document(data, name, most_depth=settings.max_request_depth, most_nodes=settings.max_request_nodes)
    except DocumentError as error:
        identity = identify(error.document, name, is_taken)
        known = {fault.field for fault in error.faults}
        more = [identity.fault] if identity.fault and identity.fault.field not in known else []
        raise _rejected([*error.faults, *more], name, identity) from error


def _templates(
    settings: Settings, *, needed: bool
) -> tuple[Mapping[str, TaskTemplate], Collection[str], FieldFault | None]:
    """The task templates, the names of the file templates, and what is wrong with the settings' folder of them."""
    folder = Path(settings.templates_dir) if settings.templates_dir else None
    try:
        return find_templates(folder) if needed else {}, find_file_templates(folder), None
    except TemplateError as error:
        if isinstance(error.__cause__, OSError) and kind_of(error.__cause__) in FOR_ALL:
            raise error.__cause__ from None  # the machine's fault, and not the templates'
        fault = make_fault(
            FaultCode.BAD_TEMPLATE,
            "/template",
            found=str(error),
            expected="templates that can be read",
            fix="mend or remove that file in templates_dir",
        )
        return {}, (), fault


def _rejected(
    faults: list[FieldFault], name: str, identity: Identity, shape: RequestShape | None = None, *, left_out: int = 0
) -> Rejected:
    return Rejected(
        faults,
        plan_id=identity.plan_id,
        name=name,
        left_out=left_out,
        states_id=identity.states_id,
        shape=shape,
        sender=identity.sender,
        correlation_id=identity.correlation_id,
    )


def _spool_id(root: Path) -> str | None:
    """The spool's identity; None where it is not there yet, as for `haikud check`."""
    try:
        spool = read_model(SpoolLayout(root).format_file, SpoolFormat)
    except (UnreadableFile, OSError):
        return None
    return spool.spool_id if spool is not None else None


class _Preparation:
    """The part that needs roles and repositories: faults go to the draft's notes."""

    def __init__(
        self,
        draft: Draft,
        identity: Identity,
        settings: Settings,
        spool_root: Path,
        catalogue: Mapping[str, RoleFile],
    ) -> None:
        self._draft = draft
        self._notes = draft.notes
        self._identity = identity
        self._settings = settings
        self._catalogue = catalogue
        self._repositories = Repositories(settings, spool_root, draft.notes)
        self._spool_root = spool_root
        self._closed: set[str] = set()  # tasks whose answer has no fields but those that every answer has
        self._absent: dict[str, dict[str, str]] = {}  # task id -> fields without a value

    def tasks(self) -> list[Task]:
        """The tasks; what has faults is left out, for then there is no plan anyway."""
        tasks: list[Task] = []
        for task_id, draft in zip(self._draft.task_ids, self._draft.tasks, strict=True):
            task = self._task(task_id, draft)
            if task is not None:
                tasks.append(task)
        self._check_one_repository(tasks)
        named = dict(zip(self._draft.task_ids, self._draft.named, strict=True))
        check_payload_fields(named, self._closed, self._absent, self._notes)
        self._check_places(tasks)
        return tasks

    def _task(self, task_id: str, draft: DraftTask) -> Task | None:
        def of_repository() -> Mapping[str, RoleFile]:
            facts = self._find(draft, draft.params)
            return self._repositories.roles(facts, self._catalogue) if facts else {}

        check_model(draft, self._settings.models, self._notes)
        role = choose_role(draft, self._settings.default_role, self._catalogue, of_repository, self._notes)
        if role is None:
            return None
        for warning in role.warnings:
            self._notes.warn(warning)
        check_operation(draft, role, self._notes)
        if draft.operation is None:
            self._absent[task_id] = fields_without_value(draft, self._settings.issues)
            if role.command is None:
                self._closed.add(task_id)
        facts: RepositoryFacts | None = None
        if role.needs_repository:
            facts = self._find(draft, draft.params if role.workspace == "none" else {})
        elif self._settings.issues == "github" or _names_a_template(draft.params):
            facts = self._repositories.find_if_any(draft.repository)
        if (role.needs_repository and facts is None) or self._notes.faults:
            return None
        return self._whole(task_id, draft, role, facts)

    def _find(self, draft: DraftTask, params: JsonObject) -> RepositoryFacts | None:
        """The task's repository. An operation's own parameter `repository` goes before the plan's."""
        stated = draft.repository
        own = params.get("repository")
        if own is not None and draft.operation:
            pointer = f"{draft.params_pointer}/repository"
            if not isinstance(own, str) or not own:
                self._notes.add(
                    FaultCode.WRONG_TYPE,
                    pointer,
                    found=shown(own),
                    expected="a string: an absolute path",
                    fix="write the whole path, from / on",
                )
                return None
            stated = Stated(own, pointer)
        return self._repositories.find(stated, draft.main_branch, self._draft.body_pointer)

    def _whole(self, task_id: str, draft: DraftTask, role: RoleFile, facts: RepositoryFacts | None) -> Task:
        ref = task_ref(self._identity.plan_id, task_id, only_task=len(self._draft.tasks) == 1)
        has_worktree = role.workspace == "worktree" and facts is not None
        root = self._settings.worktree_root
        worktree = str(worktree_path(facts.top, ref, root)) if has_worktree and facts else None
        params = dict(draft.params)
        if role.workspace == "none" and role.needs_repository and facts is not None:
            params["repository"] = facts.top
        task = Task(
            id=task_id,
            ref=ref,
            title=draft.title,
            description=draft.description,
            type=draft.type,
            priority=draft.priority,
            dependencies=[dependency.text for dependency in draft.dependencies],
            role=role.name,
            operation=draft.operation.text if draft.operation else None,
            params=params,
            files=list(draft.files),
            steps=list(draft.steps),
            optional_steps=list(draft.optional_steps),
            tests=list(draft.tests),
            success_criteria=list(draft.success_criteria),
            context=draft.context,
            issue_number=draft.issue_number,
            issue_from=draft.issue_from,
            model=draft.model.text if draft.model else None,
            workspace=role.workspace,
            repository=at_admission(facts) if facts else None,
            branch=branch_name(ref) if has_worktree else None,
            worktree=worktree,
            max_cost_usd=draft.max_cost_usd,
        )
        if self._settings.routing == "off":
            return task
        advice = advice_for(task, role)
        if advice is None:
            return task
        said = warning_of(task, advice, role, self._settings)
        if said:
            self._notes.warn(said)
        return task.model_copy(update={"advice": advice.record()})

    def _check_places(self, tasks: list[Task]) -> None:
        """Note branches and worktrees that are another's: better now than when the first attempt fails on them."""
        if self._notes.faults:
            return
        wanted: dict[str, dict[str, str]] = {}
        for task in tasks:
            if task.worktree is not None and task.repository is not None:
                wanted.setdefault(task.repository.git_common_dir, {})[task.ref] = task.worktree
        obstacles: dict[str, Obstacle] = {}
        spool_id = _spool_id(self._spool_root) if wanted else None
        try:
            for common, worktrees in wanted.items():
                obstacles |= find_obstacles(common, worktrees, spool_id)
        except (WorkspaceError, OSError) as error:
            self._notes.warn(f"whether the branches are free cannot be seen: {error}")
        for task, draft in zip(tasks, self._draft.tasks, strict=True):
            if task.ref in obstacles:
                one = obstacles[task.ref]
                expected = f"room for the branch {task.branch} and the worktree {task.worktree}"
                self._notes.add(
                    FaultCode.BRANCH_TAKEN, draft.id_pointer, found=one.found, expected=expected, fix=one.fix
                )

    def _check_one_repository(self, tasks: list[Task]) -> None:
        """Note dependencies across repositories: a branch can start only from branches of its own repository."""
        if self._notes.faults:
            return
        found = {task.id: task for task in tasks}
        for task, draft in zip(tasks, self._draft.tasks, strict=True):
            for dependency in draft.dependencies:
                other = found[dependency.text]
                if task.branch is None or other.branch is None or task.repository is None or other.repository is None:
                    continue
                if task.repository.git_common_dir != other.repository.git_common_dir:
                    self._notes.add(
                        FaultCode.OTHER_REPOSITORY,
                        dependency.pointer,
                        found=f"{dependency.text}, which works in {other.repository.path}",
                        expected=f"tasks of the same repository, {task.repository.path}",
                        fix="remove the dependency, or drop the tasks one after the other",
                    )


def _names_a_template(params: JsonObject) -> bool:
    """Whether an operation on issues may want a template of the repository."""
    issues = params.get("issues")
    return any(
        "template" in one for one in (params, *(issues if isinstance(issues, list) else ())) if isinstance(one, dict)
    )
