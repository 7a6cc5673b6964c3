"""The local issue tracker: numbers count up, repeated effects find themselves, writers do not lose each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.spool.dying import every_death

from haikud.contracts.issue import Issue
from haikud.contracts.tracker import NoSuchIssue
from haikud.spool.issues import IssueTracker
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile


@pytest.fixture
def tracker(layout: SpoolLayout) -> IssueTracker:
    return IssueTracker(layout.issues)


def test_issues_are_numbered_from_one(tracker: IssueTracker):
    assert tracker.list() == []
    first = tracker.create("One", "body", ["bug"], "m1")
    second = tracker.create("Two")
    assert (first.number, second.number) == (1, 2)
    assert tracker.get(1) == first
    assert tracker.list() == [first, second]
    assert Issue.model_validate_json((tracker.folder / "1.json").read_bytes()) == first


def test_an_issue_changes_and_closes(tracker: IssueTracker):
    number = tracker.create("One", labels=["bug"]).number
    changed = tracker.update(number, title="Uno", labels=[], links=["x"])
    assert (changed.title, changed.labels, changed.links, changed.state) == ("Uno", [], ["x"], "open")
    assert tracker.update(number, title="Uno") == changed
    assert tracker.close(number).state == "closed"
    assert tracker.close(number) == tracker.get(number)
    assert tracker.list("open") == []
    assert [issue.number for issue in tracker.list("closed")] == [1]


def test_a_repeated_effect_finds_its_first_go(tracker: IssueTracker):
    first = tracker.create("One", marker="p.t attempt 1")
    assert tracker.create("One again", marker="p.t attempt 1") == first
    assert tracker.find_by_marker("p.t attempt 1") == first
    assert tracker.find_by_marker("other") is None
    for _ in range(2):
        tracker.comment(1, "done", marker="c1", author="test-runner")
        tracker.comment(1, "hello")
    assert [(c.body, c.author) for c in tracker.get(1).comments] == [
        ("done", "test-runner"),
        ("hello", "haikud"),
        ("hello", "haikud"),
    ]


def test_an_unknown_number_is_said(tracker: IssueTracker):
    for act in (tracker.get, tracker.close, lambda n: tracker.comment(n, "x")):
        with pytest.raises(NoSuchIssue, match="no issue 7"):
            act(7)


def test_a_tracker_makes_its_folder(tmp_path: Path):
    tracker = IssueTracker(tmp_path / "new" / "issues")
    assert tracker.list() == []
    assert tracker.create("One").number == 1


def test_writers_at_once_lose_nothing(tracker: IssueTracker):
    tracker.create("shared")
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                for number in range(5):
                    tracker.create(f"{os.getpid()} {number}")
                    tracker.comment(1, "x")
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert [issue.number for issue in tracker.list()] == list(range(1, 22))
    assert len(tracker.get(1).comments) == 20


def test_creating_killed_at_any_step_and_repeated_gives_one_issue(tracker: IssueTracker):
    for number, _ in every_death(lambda n: lambda: tracker.create("x", marker=f"m{n}")):
        tracker.create("x", marker=f"m{number}")
        assert len([issue for issue in tracker.list() if issue.marker == f"m{number}"]) == 1


def test_a_comment_takes_the_place_of_what_nobody_recorded(tracker: IssueTracker):
    tracker.create("One")
    tracker.comment(1, "first", marker="t.1")
    tracker.comment(1, "of a person")
    assert tracker.comment(1, "third", marker="t.3", in_place_of={"t.1", "t.2"})
    assert not tracker.comment(1, "third", marker="t.3", in_place_of={"t.1", "t.2"})
    assert [c.body for c in tracker.get(1).comments] == ["of a person", "third"]


def test_labels_and_links_are_added_to_those_that_are_there(tracker: IssueTracker):
    tracker.create("One", labels=["bug"], links=["#2"])
    assert tracker.add_labels(1, ["ui", "bug"]).labels == ["bug", "ui"]
    assert tracker.link(1, ["#3", "#2"]).links == ["#2", "#3"]
    assert [issue.number for issue in tracker.list(labels=["ui", "bug"])] == [1]
    assert tracker.list("open", ["ui", "docs"]) == []


def test_a_broken_issue_is_in_the_way_only_of_itself(tracker: IssueTracker):
    tracker.create("One", marker="m1")
    (tracker.folder / "2.json").write_text('{"number": 2, "title": "torn')
    assert tracker.create("Three", marker="m3").number == 3
    with pytest.raises(UnreadableFile, match=r"2\.json"):
        tracker.list()
    (tracker.folder / "2.json").write_text('{"number": 2, "marker": "m2", "title": "torn')
    with pytest.raises(UnreadableFile, match=r"2\.json"):  # it may have been that one: not created twice
        tracker.create("Two", marker="m2")


def test_what_a_killed_writer_left_is_removed(tracker: IssueTracker):
    tracker.create("One")
    left = tracker.folder / ".1.json.4711-0123abcd.tmp"
    left.write_text("half")
    tracker.comment(1, "x")
    assert not left.exists()
