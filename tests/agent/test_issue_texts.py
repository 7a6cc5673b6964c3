"""Issues from templates: the package's, the settings', the repository's; what does not fit is said before any is made."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.support.attempts import Bench
from tests.support.repository import git

from haikud.agent.endings import Failed
from haikud.agent.operations.operate import operate
from haikud.agent.runner import open_attempt
from haikud.contracts.issue import Issue
from haikud.spool.issues import IssueTracker

OF_THE_REPOSITORY = """---
name: Bug report
about: Something broke
title: "[BUG] {what}"
labels: bug, "needs triage"
assignees: ''
---
**What**: {what} on {system}
<!-- a hint of the template's -->
"""


def made(bench: Bench, params: dict[str, Any], **more: Any) -> Issue:
    bench.order(operation="create_issue", params=params, role={"operations": ["create_issue"]}, **more)
    attempt = open_attempt(bench.paths.folder, None, threading.Event())
    operate(attempt)
    return IssueTracker(bench.spool.issues).get(attempt.payload["issue_number"])


@pytest.fixture
def templated(bench: Bench) -> Bench:
    folder = bench.repository / ".github/ISSUE_TEMPLATE"
    (folder / "deeper").mkdir(parents=True)
    (folder / "bug_report.md").write_text(OF_THE_REPOSITORY)
    (folder / "bug.md").write_text("Just {this}")
    (folder / "form.yml").write_text("name: no template for us")
    git(bench.repository, "add", "-A")
    git(bench.repository, "commit", "-q", "-m", "Templates")
    (folder / "bug_report.md").write_text("not at the base commit")
    return bench


def test_a_template_of_the_repository_at_the_base_commit(templated: Bench):
    variables = {"what": "a {crash}", "system": 7}
    issue = made(templated, {"template": "bug_report.md", "variables": variables, "labels": ["ui"], "links": [3]})
    assert (issue.title, issue.links) == ("[BUG] a {crash}", ["#3"])
    assert issue.labels == ["bug", '"needs triage"', "ui"]
    assert issue.body == "**What**: a {crash} on 7\n<!-- a hint of the template's -->"


def test_the_settings_lie_over_the_package_and_the_repository_over_both(templated: Bench):
    own = templated.root / "templates" / "issues"
    own.mkdir(parents=True)
    (own / "bug.md").write_text("The settings' {this}")
    (own / "chore.md").write_text("---\ntitle: Tidy up\nlabels: [chore]\n---\nTidy {this}")
    variables = {"this": "house"}
    more = {"templates_dir": str(own.parent)}
    assert made(templated, {"template": "bug", "title": "T", "variables": variables}, **more).body == "Just house"
    templated.ref = "other"
    (templated.spool.task("other").folder).mkdir(parents=True)
    templated.attempt = 0
    chore = made(templated, {"template": "chore", "variables": variables}, **more)
    assert (chore.title, chore.body, chore.labels) == ("Tidy up", "Tidy house", ["chore"])


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"template": "nothing"}, "there are bug, bug_report, task"),
        ({"template": "bug_report", "variables": {"what": "x"}}, "without system"),
        ({"template": "bug", "variables": {"this": "x"}}, "params.title is missing"),
        ({"template": "bug", "variables": {"this": "x", "that": "y"}, "title": "T"}, "with that"),
        ({"template": "bug", "variables": {"this": "x"}, "body": "B"}, "exclude each other"),
        ({"title": "T", "variables": {"this": "x"}}, "no params.template"),
        ({"title": "T", "links": ["two words"]}, "params.links.0"),
    ],
)
def test_what_does_not_fit_is_said(templated: Bench, params: dict[str, Any], word: str):
    with pytest.raises(Failed) as refused:
        made(templated, params)
    assert refused.value.error is not None
    assert refused.value.error.code == "BAD_PARAMS"
    assert word in refused.value.error.message
    assert IssueTracker(templated.spool.issues).list() == []
