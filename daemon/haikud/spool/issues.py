"""The local issue tracker: issues/N.json, for repositories without a remote one.

Promises: numbers count from 1 and are never given twice to issues that are there; every change is one atomic
replacement under a lock, so that several attempts can write at once; with a marker, an effect that is repeated after
a crash finds its first go: the marker is part of what it marks. A writer that was killed leaves a temporary file at
most, which the next one removes. Fails with NoSuchIssue, OSError, and UnreadableFile where someone broke an issue that
is needed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haikud.contracts.base import utc_now
from haikud.contracts.issue import Issue, IssueComment
from haikud.contracts.tracker import Issues, IssueState, NoSuchIssue
from haikud.spool.durable import make_folder, write_durably, write_new_durably
from haikud.spool.leftovers import remove_leftovers
from haikud.spool.models import UnreadableFile, dump, read_model
from haikud.spool.reading import UntrustedFile, read_untrusted

_NUMBERED = re.compile(r"([1-9][0-9]*)\.json")

_MOST_BROKEN_BYTES = 16 * 1_048_576


class IssueTracker:
    """The issues of one spool. Any process of the spool's user may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(
        self,
        title: str,
        body: str = "",
        labels: Sequence[str] = (),
        marker: str | None = None,
        links: Sequence[str] = (),
    ) -> Issue:
        """A new issue; the one that is there where one of that marker is."""
        with self._locked():
            if marker is not None:
                earlier = self.find_by_marker(marker)
                if earlier is not None:
                    return earlier
            now = utc_now()
            issue = Issue(
                number=max(self._numbers(), default=0) + 1,
                title=title,
                body=body,
                labels=[*labels],
                marker=marker,
                links=[*links],
                created_at=now,
                updated_at=now,
            )
            write_new_durably(self._path(issue.number), dump(issue))
            return issue

    def get(self, number: int) -> Issue:
        """One issue; NoSuchIssue where there is none."""
        issue = read_model(self._path(number), Issue)
        if issue is None:
            raise NoSuchIssue(self.folder, number)
        return issue

    def url(self, number: int) -> str:
        """Where an issue lies, as a file: URL."""
        return self._path(number).absolute().as_uri()

    def find_by_marker(self, marker: str) -> Issue | None:
        """The issue that was created with that marker. One that somebody broke counts only where it may be that one."""
        for number in sorted(self._numbers()) if self.folder.is_dir() else []:
            try:
                issue = read_model(self._path(number), Issue)
            except UnreadableFile:
                if _may_hold(self._path(number), marker):
                    raise
                continue
            if issue is not None and issue.marker == marker:
                return issue
        return None

    def update(
        self,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        labels: Sequence[str] | None = None,
        state: IssueState | None = None,
        links: Sequence[str] | None = None,
    ) -> Issue:
        """Change what is not None; the issue as it is then."""
        changes: dict[str, Any] = {"title": title, "body": body, "state": state}
        changes |= {"labels": None if labels is None else [*labels], "links": None if links is None else [*links]}
        with self._locked():
            return self._replace(self.get(number), {key: value for key, value in changes.items() if value is not None})

    def comment(
        self,
        number: int,
        body: str,
        marker: str | None = None,
        *,
        author: str = "haikud",
        in_place_of: Collection[str] = (),
    ) -> bool:
        """Add a comment, unless one of that marker is there; it takes the place of those with other markers.

        Says whether there were such.
        """
        with self._locked():
            issue = self.get(number)
            kept = [one for one in issue.comments if one.marker is None or one.marker not in in_place_of]
            if marker is None or all(one.marker != marker for one in issue.comments):
                kept.append(IssueComment(at=utc_now(), author=author, body=body, marker=marker))
                self._replace(issue, {"comments": kept})
            return any(one.marker is not None and one.marker in in_place_of for one in issue.comments)

    def add_labels(self, number: int, labels: Sequence[str]) -> Issue:
        """Labels beside those that are there."""
        with self._locked():
            issue = self.get(number)
            return self._replace(issue, {"labels": list(dict.fromkeys([*issue.labels, *labels]))})

    def link(self, number: int, links: Sequence[str]) -> Issue:
        """Links beside those that are there."""
        with self._locked():
            issue = self.get(number)
            return self._replace(issue, {"links": list(dict.fromkeys([*issue.links, *links]))})

    def close(self, number: int) -> Issue:
        """Close an issue; one that is closed stays as it is."""
        return self.update(number, state="closed")

    def _replace(self, issue: Issue, changes: dict[str, Any]) -> Issue:
        changes = {key: value for key, value in changes.items() if getattr(issue, key) != value}
        if not changes:
            return issue
        changed = Issue.model_validate({**dict(issue), **changes, "updated_at": utc_now()})
        write_durably(self._path(issue.number), dump(changed))
        return changed

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.json"

    def _numbers(self) -> Iterator[int]:
        with os.scandir(self.folder) as listing:
            for found in listing:
                match = _NUMBERED.fullmatch(found.name)
                if match:
                    yield int(match[1])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self.folder)
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            remove_leftovers([self.folder])  # nobody writes here without the lock
            yield
        finally:
            os.close(descriptor)

    # Last, because within the class its name hides the builtin one from there on.
    def list(self, state: IssueState | None = None, labels: Sequence[str] = ()) -> Issues:
        """All issues, or those of one state, or with all of these labels, by number."""
        numbers = sorted(self._numbers()) if self.folder.is_dir() else []
        issues = (read_model(self._path(number), Issue) for number in numbers)
        return [
            issue
            for issue in issues
            if issue is not None and state in {None, issue.state} and set(labels) <= set(issue.labels)
        ]


def _may_hold(path: Path, marker: str) -> bool:
    """Whether a file that is no issue any more may have been the one of that marker."""
    try:
        return marker.encode() in read_untrusted(path, _MOST_BROKEN_BYTES)
    except UntrustedFile:
        return False
