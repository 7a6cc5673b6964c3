"""What an issue tracker can do, whichever it is: the spool's own (spool/issues.py) or GitHub's (workspace/github.py).

Every effect takes a marker: one that is repeated after a crash finds its first go and does nothing twice. All methods
fail with TrackerTrouble, which says what to do about it; and with OSError, where the machine refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from haikud.contracts.issue import Issue

IssueState = Literal["open", "closed"]
Issues = list[Issue]


class TrackerTrouble(Exception):  # noqa: N818 - a login that is missing is no error of anybody's code
    """A tracker that cannot do what it is asked. `code` is a constant for reports, `cure` what to do next.

    `passing`: the same may succeed by itself when it is asked again.
    """

    def __init__(self, code: str, message: str, cure: str, *, details: str = "", passing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.cure = cure
        self.details = details
        self.passing = passing


class NoSuchIssue(TrackerTrouble):
    """There is no issue of that number."""

    def __init__(self, where: object, number: int) -> None:
        super().__init__(
            "NO_SUCH_ISSUE", f"there is no issue {number} in {where}", "Ask for list_issues to see which there are"
        )
        self.number = number


class Tracker(Protocol):
    """Where issues are. `links` are references to other issues (`#12`) or URLs."""

    def create(
        self,
        title: str,
        body: str = "",
        labels: Sequence[str] = (),
        marker: str | None = None,
        links: Sequence[str] = (),
    ) -> Issue:
        """A new issue; the one that is there where one of that marker is."""
        ...

    def get(self, number: int) -> Issue:
        """One issue. Raises NoSuchIssue."""
        ...

    def url(self, number: int) -> str:
        """Where people find it."""
        ...

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
        ...

    def comment(self, number: int, body: str, marker: str | None = None, *, in_place_of: Collection[str] = ()) -> bool:
        """Add a comment, unless one of that marker is there; it takes the place of those with the other markers.

        Says whether there were such.
        """
        ...

    def add_labels(self, number: int, labels: Sequence[str]) -> Issue:
        """Labels beside those that are there."""
        ...

    def link(self, number: int, links: Sequence[str]) -> Issue:
        """Links beside those that are there."""
        ...

    def close(self, number: int) -> Issue:
        """Close it; one that is closed stays as it is."""
        ...

    # Last, because within the class its name hides the builtin one from there on.
    def list(self, state: IssueState | None = None, labels: Sequence[str] = ()) -> Issues:
        """All issues, or those of one state, or with all of these labels, by number."""
        ...
