"""Role files: Claude Code's format, our keys, and what is wrong with path and line."""

from __future__ import annotations

import pytest

from haikud.roles.files import RoleError, RoleFile, parse_role
from haikud.roles.tool_names import ALL_TOOLS

ALWAYS = ("report_progress", "escalate")
VIEWER = ("view", *ALWAYS)
EDITOR = ("edit", "view", *ALWAYS)


def role(front: str, body: str = "Do it.") -> RoleFile:
    return parse_role(f"---\n{front}\n---\n{body}\n".encode(), name_hint="roles/some-role.md", source="settings")


def refused(front: str) -> RoleError:
    with pytest.raises(RoleError) as caught:
        role(front)
    return caught.value


def test_a_sub_agent_of_claude_code():
    found = role("name: reviewer\ndescription: Reviews.\ntools: Read, Grep, WebFetch\nmodel: haiku\ncolor: red\nodd: 1")
    assert (found.name, found.description, found.prompt, found.model) == ("reviewer", "Reviews.", "Do it.", "haiku")
    assert found.tools == VIEWER
    text = "\n".join(found.warnings)
    assert "WebFetch" in text
    assert "'odd'" in text
    assert "Grep" not in text
    assert "color" not in text


def test_a_description_that_is_no_yaml_is_read_line_by_line():
    found = role("name: a\ndescription: Use this when: the user asks.\nuser: hello\n  Examples: one\ntools: Read")
    assert found.description == "Use this when: the user asks.\nuser: hello\nExamples: one"
    assert found.tools == VIEWER
    assert any("line by line" in warning for warning in found.warnings)


def test_read_line_by_line_a_key_cannot_come_twice():
    error = refused("name: a\ntools: Read\ndescription: x: y\ntools: Bash")
    assert (error.line, error.why) == (5, "the key 'tools' twice")


@pytest.mark.parametrize(
    ("front", "tools"),
    [
        ("name: a", None),
        ("tools:", None),
        ("tools: Bash", ("bash", *ALWAYS)),
        ("tools: [Bash, Write]", ALL_TOOLS),
        ("tools: '*'", ALL_TOOLS),
        ("tools: All tools", ALL_TOOLS),
        ("tools: []", ALWAYS),
        ("tools: Read, Grep, Glob", VIEWER),
        ("tools: Read Grep Glob", VIEWER),
        ('tools: "Read, LS"', VIEWER),
        ("tools:\n  - Read\n  - Glob", VIEWER),
        ("tools:\n- Read\n- mcp__github__get_issue", VIEWER),
        ("description: a: b\ntools:\n  - Read\n  - Glob", VIEWER),
        ('description: a: b\ntools: ["Read", "Grep"]', VIEWER),
        ("tools: Read, Edit", EDITOR),
        ("tools: NotebookEdit", EDITOR),
        ("tools: Bash, Read", ("bash", "view", *ALWAYS)),
        ("tools: mcp__github, WebSearch", ALWAYS),
        ("tools: Read, Bash(git diff:*, npm test)", VIEWER),
        ("tools: Bash(*), Read", ("bash", "view", *ALWAYS)),
        ("permissionMode: plan", VIEWER),
        ("tools: Bash, Edit\npermissionMode: plan", VIEWER),
        ("tools: Bash, Edit\npermissionMode: acceptEdits", ALL_TOOLS),
        ("disallowedTools: Bash", EDITOR),
        ("disallowedTools: Bash(rm:*)", EDITOR),
        ("disallowedTools: Write, Edit", ("bash", "view", *ALWAYS)),
        ("disallowedTools: Read", ("bash", *ALWAYS)),
        ("disallowedTools: Grep", ALL_TOOLS),
        ("disallowedTools: '*'", ALWAYS),
        ("tools: Bash, Edit\ndisallowedTools: [Write, WebFetch]", ("bash", "view", *ALWAYS)),
    ],
)
def test_tools(front: str, tools: tuple[str, ...] | None):
    assert role(front).tools == tools


def test_a_command_agent():
    found = role("command: [bash, agent.sh]\ncredential: true\nworkspace: none\noperations: [ping]\nmodel: inherit")
    assert found.command == ("bash", "agent.sh")
    assert found.credential
    assert (found.workspace, found.needs_repository) == ("none", False)
    assert found.operations == ("ping",)
    assert found.model is None
    assert role("workspace: none\nrepository: true").needs_repository
    assert role("name: x").needs_repository


@pytest.mark.parametrize("name", ["dotnet-framework-4.8-expert", "Code Reviewer", "a", "x" * 64])
def test_names_that_others_give(name: str):
    assert role(f"name: {name}").name == name


def test_the_file_name_names_a_role_that_does_not():
    assert role("description: x").name == "some-role"


@pytest.mark.parametrize(
    ("front", "line", "word"),
    [
        ("name: a/b", 2, "letters"),
        ("name: -a", 2, "letters"),
        ("description: x\ncommand: bash agent.sh", 3, "list"),
        ("command: []", 2, "list"),
        ("command: [1]", 2, "list"),
        ("command: ['']", 2, "program"),
        ("credential: maybe", 2, "true or false"),
        ("workspace: else", 2, "worktree, none"),
        ("tools: {a: b}", 2, "list"),
        ("model: 5", 2, "quotes"),
        ("name: a\nname: b", 2, "twice"),
        ("- a", 2, "key: value"),
        ("name: !!python/none x", 2, "tag"),
        ("name: *x", 2, "alias"),
        ("[" * 100_000, 2, "deep"),
    ],
)
def test_faults_have_path_and_line(front: str, line: int, word: str):
    error = refused(front)
    assert (error.path, error.line) == ("roles/some-role.md", line)
    assert word in error.why


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", "front matter"),
        (b"Just text", "front matter"),
        (b"---\nname: a\n", "does not end"),
        (b"---\nname: a\n---\n\xff", "UTF-8"),
        (b"---\nname: a\n---\n\0", "NUL"),
        (b"---\n" + b"x" * 300_000, "bytes"),
        (b"---\n---\nbody", "without content"),
    ],
)
def test_files_that_are_no_role(text: bytes, word: str):
    with pytest.raises(RoleError, match=word):
        parse_role(text, name_hint="x.md", source="settings")


def test_windows_line_ends_and_a_bom():
    found = parse_role(b"\xef\xbb\xbf---\r\nname: a\r\n---\r\nDo\r\nit.", name_hint="x.md", source="settings")
    assert (found.name, found.prompt) == ("a", "Do\nit.")
