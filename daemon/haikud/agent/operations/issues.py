"""issue-orchestrator on the local tracker (SPOOL/issues).

Every effect carries a marker made of the task's ref and the operation: an attempt that is repeated after a crash finds
what the first one did, and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import AliasChoices, Field

from haikud.agent.attempt import Attempt
from haikud.agent.operations.params import Params, read_params, refused
from haikud.contracts.issue import Issue
from haikud.spool.issues import IssueTracker, NoSuchIssue


class NewIssue(Params):
    """create_issue."""

    title: str = Field(min_length=1)
    body: str = ""
    labels: list[str] = Field(default_factory=list)
    links: list[str] = Field(default_factory=list)


class NewIssues(Params):
    """create_issues."""

    issues: list[NewIssue] = Field(min_length=1)


class _OfIssue(Params):
    issue_number: int = Field(ge=1, validation_alias=AliasChoices("issue_number", "number", "issue"))


class Changes(_OfIssue):
    """update_issue."""

    title: str | None = Field(None, min_length=1)
    body: str | None = None
    labels: list[str] | None = None
    links: list[str] | None = None
    state: Literal["open", "closed"] | None = Field(None, validation_alias=AliasChoices("state", "status"))
    comment: str | None = None


class Comment(_OfIssue):
    """comment_issue."""

    body: str = Field(min_length=1, validation_alias=AliasChoices("body", "comment"))


class Closing(_OfIssue):
    """close_issue."""

    comment: str | None = None


class MoreLabels(_OfIssue):
    """add_labels."""

    labels: list[str] = Field(min_length=1)


class Listing(Params):
    """list_issues."""

    state: Literal["open", "closed", "all"] = "all"
    labels: list[str] = Field(default_factory=list)


def create_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """One issue from title, body, labels."""
    wanted = read_params("create_issue", params, NewIssue)
    tracker = _tracker(attempt)
    issue = tracker.create(wanted.title, wanted.body, wanted.labels, _marker(attempt), wanted.links)
    return _answer(attempt, tracker, issue)


def create_issues(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Several in one request: the guide's batch."""
    wanted = read_params("create_issues", params, NewIssues)
    tracker = _tracker(attempt)
    issues = [
        tracker.create(each.title, each.body, each.labels, f"{_marker(attempt)}.{number}", each.links)
        for number, each in enumerate(wanted.issues, 1)
    ]
    return {"success": True, "created": len(issues), "issues": [_shown(tracker, issue) for issue in issues]}


def update_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Title, body, labels, links or state; with a comment if one is given."""
    wanted = read_params("update_issue", params, Changes)
    tracker = _tracker(attempt)
    issue = tracker.update(
        wanted.issue_number,
        title=wanted.title,
        body=wanted.body,
        labels=wanted.labels,
        links=wanted.links,
        state=wanted.state,
    )
    if wanted.comment:
        issue = tracker.comment(wanted.issue_number, wanted.comment, _marker(attempt))
    return _answer(attempt, tracker, issue)


def comment_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """One comment."""
    wanted = read_params("comment_issue", params, Comment)
    tracker = _tracker(attempt)
    return _answer(attempt, tracker, tracker.comment(wanted.issue_number, wanted.body, _marker(attempt)))


def close_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Close it, with a comment if one is given."""
    wanted = read_params("close_issue", params, Closing)
    tracker = _tracker(attempt)
    if wanted.comment:
        tracker.comment(wanted.issue_number, wanted.comment, _marker(attempt))
    return _answer(attempt, tracker, tracker.close(wanted.issue_number))


def add_labels(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Labels beside those that are there."""
    wanted = read_params("add_labels", params, MoreLabels)
    tracker = _tracker(attempt)
    labels = dict.fromkeys([*tracker.get(wanted.issue_number).labels, *wanted.labels])
    return _answer(attempt, tracker, tracker.update(wanted.issue_number, labels=list(labels)))


def list_issues(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """All issues, or those of a state or with all of some labels."""
    wanted = read_params("list_issues", params, Listing)
    tracker = _tracker(attempt)
    found = [
        issue
        for issue in tracker.list(None if wanted.state == "all" else wanted.state)
        if set(wanted.labels) <= set(issue.labels)
    ]
    return {"success": True, "count": len(found), "issues": [_shown(tracker, issue) for issue in found]}


def missing_issue(operation: str, error: NoSuchIssue) -> Exception:
    """The ending of an operation on an issue that is not there."""
    return refused(operation, "NO_SUCH_ISSUE", str(error), "Ask for list_issues to see which there are")


ISSUE_OPERATIONS: dict[str, Callable[[Attempt, dict[str, Any]], dict[str, Any]]] = {
    "create_issue": create_issue,
    "create_issues": create_issues,
    "update_issue": update_issue,
    "comment_issue": comment_issue,
    "close_issue": close_issue,
    "add_labels": add_labels,
    "list_issues": list_issues,
}


def _tracker(attempt: Attempt) -> IssueTracker:
    return IssueTracker(attempt.layout.issues)


def _marker(attempt: Attempt) -> str:
    return f"{attempt.spec.ref}.{attempt.spec.task.operation}"


def _shown(tracker: IssueTracker, issue: Issue) -> dict[str, Any]:
    return {
        "issue_number": issue.number,
        "issue_url": tracker.url(issue.number),
        "title": issue.title,
        "state": issue.state,
        "labels": issue.labels,
    }


def _answer(attempt: Attempt, tracker: IssueTracker, issue: Issue) -> dict[str, Any]:
    shown = _shown(tracker, issue)
    attempt.issue = (issue.number, shown["issue_url"])
    return {"success": True, **shown}
