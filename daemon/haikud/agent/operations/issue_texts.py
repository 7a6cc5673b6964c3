"""What an issue will say: its own words, or a template's (roles/issue_templates.py) with the variables filled in.

A template is looked for in the package, the settings' folder and the repository at the base commit. One that is not
known, and variables that do not fit it, are errors that name what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, Field, model_validator

from haikud.agent.attempt import Attempt
from haikud.agent.operations.links import Link
from haikud.agent.operations.params import Params, refused
from haikud.agent.worktree import git_work
from haikud.roles.issue_templates import REPOSITORY_FOLDER, find_issue_templates
from haikud.roles.templates import TaskTemplate, TemplateError, fill_template
from haikud.workspace.repository import read_files_at


class NewIssue(Params):
    """create_issue: a title and a body, or a template with its variables; a title here replaces the template's."""

    title: str | None = Field(None, min_length=1)
    body: str = Field("", validation_alias=AliasChoices("body", "description"))
    labels: list[str] = Field(default_factory=list)
    links: list[Link] = Field(default_factory=list)
    template: str | None = Field(None, min_length=1)
    variables: dict[str, str | int | float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _words_or_a_template(self) -> NewIssue:
        msg = None
        if self.template is None and self.title is None:
            msg = "params.title is missing, and there is no params.template"
        elif self.template is None and self.variables:
            msg = "params.variables are given, but no params.template"
        elif self.template is not None and self.body:
            msg = "params.body and params.template exclude each other"
        if msg is not None:
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class IssueText:
    """An issue as it is to be made."""

    title: str
    body: str
    labels: list[str]
    links: list[str]


def write_issues(attempt: Attempt, operation: str, wanted: list[NewIssue]) -> list[IssueText]:
    """The text of each. Raises Failed, before any of them is made."""
    templates: Mapping[str, TaskTemplate] = {}
    if any(each.template is not None for each in wanted):
        templates = _templates(attempt, operation)
    return [_write(each, templates, lambda why: refused(operation, "BAD_PARAMS", why)) for each in wanted]


def _write(wanted: NewIssue, templates: Mapping[str, TaskTemplate], refuse: Callable[[str], Exception]) -> IssueText:
    if wanted.template is None:
        return IssueText(wanted.title or "", wanted.body, wanted.labels, wanted.links)
    template = templates.get(wanted.template.removesuffix(".md"))
    if template is None:
        known = ", ".join(sorted(templates))
        raise refuse(f"params.template: there is no issue template {wanted.template!r}; there are {known}")
    try:
        document = fill_template(template, wanted.variables)
    except TemplateError as error:
        raise refuse(f"params.variables: {error}") from error
    title = wanted.title or str(document["title"]).strip()
    if not title:
        raise refuse(f"params.title is missing: the template {template.name!r} has none")
    labels = dict.fromkeys([*document["labels"], *wanted.labels])
    return IssueText(title, str(document["body"]), list(labels), wanted.links)


def _templates(attempt: Attempt, operation: str) -> dict[str, TaskTemplate]:
    folder, repository = attempt.spec.templates_dir, attempt.spec.task.repository
    of_repository: dict[str, bytes] = {}
    if repository is not None:
        with git_work("Reading the issue templates"):
            of_repository = read_files_at(repository.git_common_dir, repository.base_sha, REPOSITORY_FOLDER)
    try:
        return find_issue_templates(Path(folder) if folder else None, of_repository)
    except TemplateError as error:
        raise refused(operation, "BAD_TEMPLATE", str(error), "Mend that template, then retry") from error
