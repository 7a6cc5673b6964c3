"""issue-orchestrator: issues in the tracker that the settings choose (agent/trackers.py), without a model.

Every effect carries a marker made of the task's ref and the operation: an attempt that is repeated after a crash finds
what the first one did, and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import AliasChoices, Field

from haikud.agent.attempt import Attempt
from haikud.agent.operations.issue_texts import IssueText, NewIssue, write_issues
from haikud.agent.operations.links import IssueNumber, Link
from haikud.agent.operations.params import Params, read_params
from haikud.agent.trackers import effect_marker, tracker_of
from haikud.contracts.issue import Issue
from haikud.contracts.tracker import Tracker


class NewIssues(Params):
    """create_issues."""

    issues: list[NewIssue] = Field(min_length=1)


class _OfIssue(Params):
    issue_number: IssueNumber = Field(validation_alias=AliasChoices("issue_number", "number", "issue"))


class Changes(_OfIssue):
    """update_issue."""

    title: str | None = Field(None, min_length=1)
    body: str | None = None
    labels: list[str] | None = None
    links: list[Link] | None = None
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


class MoreLinks(_OfIssue):
    """link_issues."""

    links: list[Link] = Field(min_length=1, validation_alias=AliasChoices("links", "link"))


class Listing(Params):
    """list_issues."""

    state: Literal["open", "closed", "all"] = "all"
    labels: list[str] = Field(default_factory=list)


def create_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """One issue from title, body and labels, or from a template."""
    (text,) = write_issues(attempt, "create_issue", [read_params("create_issue", params, NewIssue)])
    tracker = tracker_of(attempt)
    return _answer(attempt, tracker, _create(attempt, tracker, text, _marker(attempt)))


def create_issues(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Several in one request, the guide's batch. Where it is stopped half-way, the answer has what was made.

    Each has a marker of its own: the next attempt goes on with the first that is not there.
    """
    texts = write_issues(attempt, "create_issues", read_params("create_issues", params, NewIssues).issues)
    tracker = tracker_of(attempt)
    shown: list[dict[str, Any]] = []
    for number, text in enumerate(texts, 1):
        attempt.check_stop()
        issue = _create(attempt, tracker, text, f"{_marker(attempt)}.{number}")
        shown.append(_shown(tracker, issue))
        attempt.payload.update(created=number, requested=len(texts), issues=shown)
        attempt.events.progress(None, f"Issue {number} of {len(texts)}: #{issue.number}")
    return {"success": True}


def update_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Title, body, labels, links or state; with a comment if one is given."""
    wanted = read_params("update_issue", params, Changes)
    tracker = tracker_of(attempt)
    issue = tracker.update(
        wanted.issue_number,
        title=wanted.title,
        body=wanted.body,
        labels=wanted.labels,
        links=wanted.links,
        state=wanted.state,
    )
    if wanted.comment:
        tracker.comment(wanted.issue_number, wanted.comment, _marker(attempt))
    return _answer(attempt, tracker, issue)


def comment_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """One comment."""
    wanted = read_params("comment_issue", params, Comment)
    tracker = tracker_of(attempt)
    issue = tracker.get(wanted.issue_number)
    tracker.comment(issue.number, wanted.body, _marker(attempt))
    return _answer(attempt, tracker, issue)


def close_issue(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Close it, with a comment if one is given."""
    wanted = read_params("close_issue", params, Closing)
    tracker = tracker_of(attempt)
    if wanted.comment:
        tracker.comment(wanted.issue_number, wanted.comment, _marker(attempt))
    return _answer(attempt, tracker, tracker.close(wanted.issue_number))


def add_labels(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Labels beside those that are there."""
    wanted = read_params("add_labels", params, MoreLabels)
    tracker = tracker_of(attempt)
    return _answer(attempt, tracker, tracker.add_labels(wanted.issue_number, wanted.labels))


def link_issues(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """Links to other issues, beside those that are there."""
    wanted = read_params("link_issues", params, MoreLinks)
    tracker = tracker_of(attempt)
    return _answer(attempt, tracker, tracker.link(wanted.issue_number, wanted.links))


def list_issues(attempt: Attempt, params: dict[str, Any]) -> dict[str, Any]:
    """All issues, or those of a state or with all of some labels."""
    wanted = read_params("list_issues", params, Listing)
    tracker = tracker_of(attempt)
    found = tracker.list(None if wanted.state == "all" else wanted.state, wanted.labels)
    return {"success": True, "count": len(found), "issues": [_shown(tracker, issue) for issue in found]}


ISSUE_OPERATIONS: dict[str, Callable[[Attempt, dict[str, Any]], dict[str, Any]]] = {
    "create_issue": create_issue,
    "create_issues": create_issues,
    "update_issue": update_issue,
    "comment_issue": comment_issue,
    "close_issue": close_issue,
    "add_labels": add_labels,
    "link_issues": link_issues,
    "list_issues": list_issues,
}


def _create(attempt: Attempt, tracker: Tracker, text: IssueText, marker: str) -> Issue:
    issue = tracker.create(text.title, text.body, text.labels, marker, text.links)
    attempt.log.line(f"issue #{issue.number}: {issue.title}")
    lost = sorted(set(text.labels) - set(issue.labels))
    if lost:  # GitHub drops them without a word where the login may not push; or somebody took them away since
        attempt.warn(f"issue #{issue.number} is without the label(s) {', '.join(lost)}")
    return issue


def _marker(attempt: Attempt) -> str:
    return effect_marker(attempt, str(attempt.spec.task.operation))


def _shown(tracker: Tracker, issue: Issue) -> dict[str, Any]:
    return {
        "issue_number": issue.number,
        "issue_url": tracker.url(issue.number),
        "title": issue.title,
        "state": issue.state,
        "labels": issue.labels,
    }


def _answer(attempt: Attempt, tracker: Tracker, issue: Issue) -> dict[str, Any]:
    shown = _shown(tracker, issue)
    attempt.issue = (issue.number, shown["issue_url"])
    return {"success": True, **shown}
