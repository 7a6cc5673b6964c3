"""What the demo works on: a small Python package that needs nothing but the standard library, and the request.

The request is the guide's own "Implement logout button", with the paths and the test command of this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

REQUEST_ID = "req-12345"  # the guide's correlation_id
TEST_COMMAND = "python3 -m unittest -q"

_BAR = '''\
"""The navigation bar."""

from html import escape

from navigation.session import Session

LINKS = (("/", "Home"), ("/about", "About"))


def render(session: Session) -> str:
    """The bar as HTML, for this visitor."""
    parts = [f'<a href="{path}">{name}</a>' for path, name in LINKS]
    if session.user is None:
        parts.append('<a href="/login">Log in</a>')
    else:
        parts.append(f'<span class="profile">{escape(session.user)}</span>')
    return f"<nav>{''.join(parts)}</nav>"
'''

_SESSION = '''\
"""Who is signed in."""


class Session:
    """One visitor's session."""

    def __init__(self) -> None:
        self.user: str | None = None

    def login(self, user: str) -> None:
        """Sign in."""
        self.user = user

    def logout(self) -> str:
        """Sign out; the page to go to."""
        self.user = None
        return "/login"
'''

_TEST_BAR = '''\
"""The bar as it was before anybody wanted to leave."""

import unittest

from navigation.bar import render
from navigation.session import Session


class BarTest(unittest.TestCase):
    def test_a_stranger_is_asked_to_log_in(self):
        self.assertIn('<a href="/login">Log in</a>', render(Session()))

    def test_a_visitor_sees_their_own_name(self):
        session = Session()
        session.login("<ada>")
        self.assertIn("&lt;ada&gt;", render(session))


if __name__ == "__main__":
    unittest.main()
'''

FILES = {
    "README.md": "# Navigation\n\nA navigation bar. `python3 -m unittest` runs its tests.\n",
    ".gitignore": "__pycache__/\n",
    "navigation/__init__.py": '"""A navigation bar."""\n',
    "navigation/bar.py": _BAR,
    "navigation/session.py": _SESSION,
    "tests/__init__.py": "",
    "tests/test_bar.py": _TEST_BAR,
}
"""Path -> text of everything in the repository."""


def write_project(folder: Path) -> None:
    """Put the package's files into a folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def make_request(repository: Path, timestamp: str) -> dict[str, Any]:
    """The guide's task_request for this repository."""
    return {
        "version": "1.0",
        "timestamp": timestamp,
        "sender": "main-agent",
        "receiver": "parallel-task-executor",
        "message_type": "task_request",
        "correlation_id": REQUEST_ID,
        "payload": {
            "task": {
                "title": "Implement logout button",
                "description": "Add logout functionality to navigation: a button beside the profile of a visitor who "
                "is signed in. A click calls the session's logout and leads to the page that it names.",
                "files": ["navigation/bar.py", "tests/test_logout.py"],
                "tests": ["The button renders", "A click calls logout", "It is hidden without a session"],
                "success_criteria": "Logout button visible and functional",
            },
            "context": {
                "project_type": "python",
                "test_command": TEST_COMMAND,
                "repository": str(repository),
            },
        },
    }
