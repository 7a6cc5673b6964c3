"""Issues on GitHub: the real gh against a double of GitHub's API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.github_double import REPOSITORY, TOKEN, Fault, GitHubDouble, limited, needs_gh

from haikud.contracts.tracker import NoSuchIssue, TrackerTrouble
from haikud.workspace.gh import Gh
from haikud.workspace.github import MOST_BODY, GitHubIssues

SPOOL = "3f0c6f0e-9d6f-4c0c-8d6c-1f1f1f1f1f1f"

pytestmark = needs_gh


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubDouble]:
    double = GitHubDouble(tmp_path_factory.mktemp("github"))
    yield double
    double.close()


@pytest.fixture
def double(server: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHubDouble:
    server.begin_anew()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    for name in ("GH_CONFIG_DIR", "XDG_CONFIG_HOME", "GH_TOKEN", "GITHUB_TOKEN", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return server


def gh_of(double: GitHubDouble, token: str = TOKEN, wait: Callable[[float], bool] | None = None) -> Gh:
    gh = Gh(host=double.host, host_is_stated=True, tokens={"GH_ENTERPRISE_TOKEN": token}, limit_wait_seconds=60)
    if wait is not None:
        gh.wait = wait
    return gh


def tracker_of(double: GitHubDouble, *, spool: str = SPOOL, gh: Gh | None = None) -> GitHubIssues:
    return GitHubIssues(gh or gh_of(double), REPOSITORY, spool, datetime(2026, 1, 1, tzinfo=UTC))


def test_an_issue_is_created_changed_commented_linked_and_closed(double: GitHubDouble):
    tracker = tracker_of(double)
    made = tracker.create("Add sub", "Please\n", ["feature"], "p.t.task", ["#7"])
    assert (made.number, made.title, made.body, made.labels, made.links) == (
        1,
        "Add sub",
        "Please",
        ["feature"],
        ["#7"],
    )
    assert tracker.url(1) == f"https://{double.host}/{REPOSITORY}/issues/1"
    assert double.issues[1]["body"].startswith("Please\n\n\nLinked: #7\n\n<!-- haikud:p.t.task:")
    assert SPOOL not in double.issues[1]["body"]

    tag = double.issues[1]["body"].splitlines()[-1]
    changed = tracker.update(1, title="Add sub()", body="Now\r\n", labels=["bug"])
    assert (changed.title, changed.body, changed.labels, changed.links) == ("Add sub()", "Now", ["bug"], ["#7"])
    assert double.issues[1]["body"].endswith(tag)
    assert tracker.link(1, ["#8", "#7"]).links == ["#7", "#8"]
    assert tracker.add_labels(1, ["bug", "ui"]).labels == ["bug", "ui"]
    assert not tracker.comment(1, "first", "p.t.1")
    assert tracker.comment(1, "second", "p.t.2", in_place_of={"p.t.1"})
    assert not tracker.comment(1, "second", "p.t.2", in_place_of={"p.t.1"})
    assert [one["body"].splitlines()[0] for one in double.comments[1]] == ["second"]
    assert tracker.close(1).state == "closed"
    assert (tracker.list("open"), [issue.number for issue in tracker.list("closed", ["ui"])]) == ([], [1])
    for ask in (tracker.get, tracker.close, lambda number: tracker.comment(number, "x", "m")):
        with pytest.raises(NoSuchIssue, match="no issue 99"):
            ask(99)


def test_an_effect_is_found_again_whoever_copied_it_and_however_its_answer_was_lost(double: GitHubDouble):
    double.fail("POST", Fault(lost=True))
    with pytest.raises(TrackerTrouble) as lost:
        tracker_of(double).create("One", marker="p.t.task")
    assert (lost.value.code, lost.value.passing) == ("GITHUB_UNREACHABLE", True)
    copied = double.issues[1]["body"]
    double.answer("POST", f"/api/v3/repos/{REPOSITORY}/issues", TOKEN, {"title": "Copy", "body": copied})
    double.issues[1]["state"] = "closed"
    assert tracker_of(double).create("One", marker="p.t.task").number == 1
    stranger = tracker_of(double, spool="another spool").create("One", marker="p.t.task")
    assert stranger.number == 3
    double.issues[4] = {**double.issues[3], "number": 4, "pull_request": {}}
    assert [issue.number for issue in tracker_of(double).list()] == [1, 2, 3]


def test_a_secret_in_an_issue_is_masked_before_others_can_read_it(double: GitHubDouble):
    secret = f"glpat-{'a1B2' * 5}"
    tracker_of(double).create(f"Failed with {secret}", f"It printed {secret}.\n", [], "p.t.task", [])
    assert double.issues[1]["title"] == "Failed with [masked: GitLab token]"
    assert "printed [masked: GitLab token]." in double.issues[1]["body"]


def test_a_body_that_github_would_refuse_is_cut(double: GitHubDouble):
    tracker_of(double).create("Long", "x" * 70_000, marker="m")
    tracker_of(double).update(1, title="y" * 300)
    assert len(double.issues[1]["title"]) == 256
    body = double.issues[1]["body"]
    assert MOST_BODY - 100 < len(body) < 65_536
    assert "cut here" in body
    assert body.endswith(" -->")


def test_a_short_limit_is_waited_out_and_a_long_one_told(double: GitHubDouble):
    waited: list[float] = []
    tracker = tracker_of(double, gh=gh_of(double, wait=lambda seconds: not waited.append(seconds)))
    double.fail("POST", limited(20), limited(7, secondary=True), Fault(429, "secondary rate limit"))
    assert tracker.create("One").number == 1
    assert 18 <= waited[0] <= 22
    assert waited[1:] == [7.0, 60.0]

    double.fail("POST", limited(3600))
    with pytest.raises(TrackerTrouble, match="rate limit is exceeded") as long:
        tracker.create("Two")
    assert (long.value.code, len(waited)) == ("RATE_LIMITED", 3)
    assert "Wait until " in long.value.cure
    stopped = tracker_of(double, gh=gh_of(double, wait=lambda _: False))
    double.fail("POST", limited(20))
    with pytest.raises(TrackerTrouble, match="rate limit"):
        stopped.create("Two")
    assert list(double.issues) == [1]


@pytest.mark.parametrize(
    ("fault", "code", "cure"),
    [
        (Fault(403, "Resource not accessible by personal access token"), "FORBIDDEN", "gh auth refresh"),
        (Fault(410, "Issues are disabled for this repo"), "ISSUES_DISABLED", "github.repository"),
        (Fault(404, "Not Found"), "NO_SUCH_REPOSITORY", "github.repository"),
        (Fault(502, "Bad gateway"), "GITHUB_ERROR", "githubstatus"),
    ],
)
def test_what_github_refuses_comes_with_its_cure(double: GitHubDouble, fault: Fault, code: str, cure: str):
    double.fail("POST", fault)
    with pytest.raises(TrackerTrouble) as refused:
        tracker_of(double).create("One")
    assert (refused.value.code, refused.value.passing) == (code, fault.status >= 500)
    assert cure in refused.value.cure


@pytest.mark.parametrize("token", ["ghp_that_is_not_valid", ""])
def test_no_login_is_told_and_no_token_is(double: GitHubDouble, token: str):
    with pytest.raises(TrackerTrouble) as refused:
        tracker_of(double, gh=gh_of(double, token)).list()
    assert refused.value.code == "NOT_LOGGED_IN"
    assert f"gh auth login --hostname {double.host}" in refused.value.cure
    assert not token or token not in f"{refused.value}{refused.value.details}{refused.value!r}"


def test_an_enterprise_token_goes_only_to_a_host_that_somebody_named(double: GitHubDouble):
    gh = gh_of(double)
    gh.host_is_stated = False
    with pytest.raises(TrackerTrouble) as refused:
        tracker_of(double, gh=gh).list()
    assert refused.value.code == "NOT_LOGGED_IN"


def test_a_missing_gh_is_told_with_how_to_install_it(double: GitHubDouble, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrackerTrouble, match="gh: command not found") as missing:
        tracker_of(double).list()
    assert (missing.value.code, "apt-get install gh" in missing.value.cure) == ("GH_MISSING", True)


def test_a_gh_that_hangs_is_ended_in_time_and_at_a_stop(double: GitHubDouble, monkeypatch, tmp_path: Path):
    slow = tmp_path / "gh"
    slow.write_text("#!/bin/sh\nsleep 600 & wait\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    late, stopped = gh_of(double), gh_of(double)
    late.call_seconds, stopped.stop = 0.3, lambda: True
    for gh in (late, stopped):
        with pytest.raises(TrackerTrouble) as slow_one:
            tracker_of(double, gh=gh).list()
        assert slow_one.value.code == "GITHUB_UNREACHABLE"
