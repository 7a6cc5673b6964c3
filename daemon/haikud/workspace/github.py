"""Issues on GitHub, through gh: the other implementation of contracts/tracker.py.

Every effect is marked by an HTML comment that nobody sees in the page, `<!-- haikud:MARKER:PROOF -->`; before it is
repeated, it is looked for in the repository's list of issues, newest first (a search would be behind). PROOF is made
with the spool's id, which is published nowhere: a stranger who opens an issue cannot make one that a task would take
for its own, and of copies the oldest counts. Links stand in a last line of the body, `Linked: #1, #2`; GitHub shows
them on both sides. Fails with TrackerTrouble.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from haikud.contracts.base import format_time
from haikud.contracts.issue import Issue
from haikud.contracts.tracker import Issues, IssueState, NoSuchIssue, TrackerTrouble
from haikud.workspace.gh import Gh

PAGE = 100
"""GitHub's largest."""

MOST_PAGES = 50

MOST_BODY = 65_000
"""Characters. GitHub takes 65,536; the rest is for links and tags."""

MOST_TITLE = 256

_CUT = "\n\n... (cut here: GitHub takes no more)"
_LINKS = "Linked: "
_TAG = re.compile(r"<!-- haikud:\S+ -->")


class GitHubIssues:
    """The issues of one repository, OWNER/NAME. `since`: no effect of ours is older than that."""

    def __init__(self, gh: Gh, repository: str, spool_id: str, since: datetime | None = None) -> None:
        self.repository = repository
        self._gh = gh
        self._spool_id = spool_id
        self._since = since
        self._urls: dict[int, str] = {}
        self._marked: dict[str, dict[str, Any]] | None = None  # tag -> the issue that bears it, as GitHub gives it

    def create(
        self,
        title: str,
        body: str = "",
        labels: Sequence[str] = (),
        marker: str | None = None,
        links: Sequence[str] = (),
    ) -> Issue:
        """A new issue; the one that is there where one of that marker is. Labels that do not exist yet are made."""
        tag = None if marker is None else self.tag(marker)
        if tag is not None and tag in self._find_marked():
            return self._read(self._find_marked()[tag])
        fields: dict[str, Any] = {"title": _short(title), "body": _compose(body, links, [tag] if tag else [])}
        if labels:
            fields["labels"] = [*labels]
        made = self._gh.call("POST", self._path(), fields, ok=(410,))
        if made.status == 410:
            raise _without_issues(self.repository)
        if not isinstance(made.body, dict) or "number" not in made.body:
            raise _moved(self.repository)
        if tag is not None:
            self._find_marked()[tag] = made.body
        return self._read(made.body)

    def get(self, number: int) -> Issue:
        """One issue, without its comments. Raises NoSuchIssue."""
        return self._read(self._call("GET", number))

    def url(self, number: int) -> str:
        """Where people find it."""
        return self._urls.get(number) or f"https://{self._gh.host}/{self.repository}/issues/{number}"

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
        """Change what is not None; the issue as it is then. Links and tags in the body outlive a new body."""
        changes: dict[str, Any] = {
            "title": title and _short(title),
            "state": state,
            "labels": None if labels is None else [*labels],
        }
        changes = {name: value for name, value in changes.items() if value is not None}
        if body is not None or links is not None:
            old_body, old_links, tags = _take_apart(self._call("GET", number).get("body"))
            changes["body"] = _compose(old_body if body is None else body, old_links if links is None else links, tags)
        return self._read(self._call("PATCH", number, changes) if changes else self._call("GET", number))

    def comment(self, number: int, body: str, marker: str | None = None, *, in_place_of: Collection[str] = ()) -> bool:
        """Add a comment, unless one of that marker is there; it takes the place of those with the other markers."""
        tag = None if marker is None else self.tag(marker)
        stale_tags = {self.tag(other) for other in in_place_of}
        there = list(self._pages(f"{self._path(number)}/comments", number)) if tag or stale_tags else []
        stale = [one for one in there if stale_tags & set(_TAG.findall(one.get("body") or ""))]
        fields = {"body": _compose(body, (), [tag] if tag else [])}
        if tag is None or all(tag not in (one.get("body") or "") for one in there):
            if stale:
                self._gh.call("PATCH", f"repos/{self.repository}/issues/comments/{stale[0]['id']}", fields)
            else:
                self._call("POST", number, fields, "/comments")
        for one in stale[1:]:
            self._gh.call("DELETE", f"repos/{self.repository}/issues/comments/{one['id']}", ok=(404,))
        return bool(stale)

    def add_labels(self, number: int, labels: Sequence[str]) -> Issue:
        """Labels beside those that are there."""
        self._call("POST", number, {"labels": [*labels]}, "/labels")
        return self.get(number)

    def link(self, number: int, links: Sequence[str]) -> Issue:
        """Links beside those that are there."""
        issue = self.get(number)
        both = list(dict.fromkeys([*issue.links, *links]))
        return issue if both == issue.links else self.update(number, links=both)

    def close(self, number: int) -> Issue:
        """Close it; one that is closed stays as it is."""
        return self.update(number, state="closed")

    def tag(self, marker: str) -> str:
        """The comment that marks an effect."""
        proof = hmac.new(self._spool_id.encode(), marker.encode(), hashlib.sha256).hexdigest()[:32]
        return f"<!-- haikud:{marker}:{proof} -->"

    def _find_marked(self) -> dict[str, dict[str, Any]]:
        """Every issue with a tag that may be ours; listed once."""
        if self._marked is None:
            query = {"since": format_time(self._since)} if self._since else {}
            # The newest first: those that have come in the meantime push nothing over a page's edge unseen.
            found = list(self._pages(self._path(), None, state="all", sort="created", direction="desc", **query))
            self._marked = {tag: one for one in found for tag in _TAG.findall(one.get("body") or "")}
        return self._marked

    def _path(self, number: int | None = None) -> str:
        return f"repos/{self.repository}/issues" + ("" if number is None else f"/{number}")

    def _call(self, method: str, number: int, fields: dict[str, Any] | None = None, more: str = "") -> dict[str, Any]:
        answer = self._gh.call(method, f"{self._path(number)}{more}", fields, ok=(404, 410))
        if answer.status >= 300:  # never there, or not for us; deleted
            raise self._no_such(number)
        return answer.body if isinstance(answer.body, dict) else {}

    def _pages(self, path: str, number: int | None, **query: str) -> Iterator[dict[str, Any]]:
        """Everything that a list has, without pull requests, which GitHub counts among the issues."""
        ok = (410,) if number is None else (404, 410)
        for page in range(1, MOST_PAGES + 1):
            answer = self._gh.call("GET", path, query={**query, "per_page": PAGE, "page": page}, ok=ok)
            if answer.status >= 300:
                raise self._no_such(number) if number else _without_issues(self.repository)
            found = answer.body if isinstance(answer.body, list) else []
            yield from (one for one in found if isinstance(one, dict) and "pull_request" not in one)
            if len(found) < PAGE:
                return
        raise TrackerTrouble(
            "TOO_MANY_ISSUES",
            f"{self.repository} has more than {MOST_PAGES * PAGE} of what was asked for",
            "Ask for fewer: by labels, or by state",
        )

    def _no_such(self, number: int) -> NoSuchIssue:
        return NoSuchIssue(f"{self.repository} (or this login may not see it)", number)

    def _read(self, found: dict[str, Any]) -> Issue:
        number = int(found.get("number") or 0)
        if found.get("html_url"):
            self._urls[number] = str(found["html_url"])
        body, links, _ = _take_apart(found.get("body"))
        names = [one.get("name") if isinstance(one, dict) else one for one in found.get("labels") or []]
        return Issue(
            number=number,
            title=str(found.get("title") or ""),
            body=body,
            labels=[str(name) for name in names],
            state="closed" if found.get("state") == "closed" else "open",
            created_at=found["created_at"],
            updated_at=found.get("updated_at") or found["created_at"],
            links=links,
        )

    # Last, because within the class its name hides the builtin one from there on.
    def list(self, state: IssueState | None = None, labels: Sequence[str] = ()) -> Issues:
        """All issues, or those of one state, or with all of these labels, by number."""
        query = {"labels": ",".join(labels)} if labels else {}
        found = self._pages(self._path(), None, state=state or "all", sort="created", direction="desc", **query)
        return sorted((self._read(one) for one in found), key=lambda issue: issue.number)


def _without_issues(repository: str) -> TrackerTrouble:
    return TrackerTrouble(
        "ISSUES_DISABLED",
        f"issues are turned off in {repository}",
        "Turn them on in the repository's settings, or name another in github.repository",
    )


def _moved(repository: str) -> TrackerTrouble:
    return TrackerTrouble(
        "REPOSITORY_MOVED", f"{repository} has moved", "Give its new OWNER/NAME in github.repository, or to the remote"
    )


def _short(title: str) -> str:
    return title if len(title) <= MOST_TITLE else f"{title[: MOST_TITLE - 4]} ..."


def _compose(body: str, links: Sequence[str], tags: Sequence[str]) -> str:
    """The text that GitHub gets: body, links, tags; a body that is too long is cut at its end."""
    if len(body) > MOST_BODY:
        body = body[: MOST_BODY - len(_CUT)] + _CUT
    parts = [body, f"{_LINKS}{', '.join(links)}" if links else "", "\n".join(tags)]
    return "\n\n".join(part for part in parts if part)


def _take_apart(text: str | None) -> tuple[str, list[str], list[str]]:
    """Body, links and tags of what `_compose` made, or of what a person wrote."""
    lines = (text or "").replace("\r\n", "\n").rstrip().split("\n")
    tags: list[str] = []
    while lines and (not lines[-1].strip() or _TAG.fullmatch(lines[-1].strip())):
        line = lines.pop().strip()
        if line:
            tags.insert(0, line)
    links: list[str] = []
    if lines and lines[-1].startswith(_LINKS):
        links = [link.strip() for link in lines.pop().removeprefix(_LINKS).split(",") if link.strip()]
    return "\n".join(lines).rstrip(), links, tags
