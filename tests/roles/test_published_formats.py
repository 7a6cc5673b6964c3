"""Role files as other people write them: every format of tests/data/roles loads and gives what it says, not more."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.roles.catalogue import find_roles, repository_roles

DATA = Path(__file__).resolve().parents[1] / "data" / "roles"
FILES = {path.name: path.read_bytes() for path in DATA.glob("*.md")}

ALWAYS = {"report_progress", "escalate"}
ALL = {"bash", "edit", "view"}

EXPECTED = {
    "tools-with-commas.md": ("style-checker", {"bash", "view"}, ["model"]),
    "tools-as-list.md": ("note-keeper", {"edit", "view"}, ["model"]),
    "tools-in-brackets.md": ("api-lister", {"view"}, []),
    "no-tools.md": ("bug-hunter", ALL, []),
    "examples-in-description.md": ("schema-guard", {"view"}, ["line by line", "WebFetch", "model"]),
    "escaped-newlines.md": ("release-writer", ALL, ["model"]),
    "block-description.md": ("doc-reader", {"view"}, []),
    "loose-lines.md": ("flow-tester", ALL, ["line by line"]),
    "mcp-tools.md": ("ticket-reader", {"view"}, ["mcp__tracker__get_issue, mcp__tracker__search"]),
    "restricted-bash.md": ("history-reader", {"view"}, ["git log", "git blame"]),
    "denied-tools.md": ("careful-editor", {"edit", "view"}, []),
    "plan-mode.md": ("planner", {"view"}, []),
    "odd-name.md": ("Python 3.12 Expert", ALL, []),
}


@pytest.mark.parametrize("file", sorted(EXPECTED))
def test_a_published_format(file: str):
    name, tools, words = EXPECTED[file]
    roles, unusable = repository_roles({file: FILES[file]}, find_roles())
    assert not unusable
    role = roles[name]
    assert set(role.tools or ()) == tools | ALWAYS
    assert len(role.warnings) == len(words)
    for warning, word in zip(role.warnings, words, strict=True):
        assert word in warning
    assert role.description
    assert role.prompt.startswith("You ")


def test_every_file_is_expected_and_texts_are_whole():
    assert set(FILES) == {*EXPECTED, "README.md"}
    roles, unusable = repository_roles(FILES, find_roles())
    assert not unusable
    assert len(roles) == len(EXPECTED)
    assert roles["style-checker"].prompt.endswith("---\n\nReport findings as `file:line: what`.")
    assert roles["schema-guard"].description.endswith("'First the schema-guard agent'</example>")
    assert roles["flow-tester"].description.splitlines()[-1] == 'assistant: "I will"'
    assert roles["release-writer"].description.startswith("Use this agent when a release is near.\n\n<example>")
    assert roles["doc-reader"].description.startswith("Reads documentation and answers")
