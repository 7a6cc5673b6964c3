"""Role files: Markdown with YAML front matter, the format of Claude Code's sub-agents, with a few keys of ours.

`name, description, tools, disallowedTools, model, permissionMode` are Claude Code's (its others have no effect here);
`command, credential, workspace, repository, operations` are ours. The body is the agent's system prompt. A file that
cannot be used raises `RoleError` with path and line; what is merely unknown becomes a warning. Front matter in which a
plain text holds `: ` is no YAML, but Claude Code reads it, so it is read here too, line by line.

Tried on 1,130 published files of 17 repositories: all load (docs/roles.md).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from haikud.roles.plain_yaml import OddKeys, PlainYamlError, YamlFault, read_plain_yaml
from haikud.roles.tool_names import choose_tools

LARGEST_FILE = 262_144
"""Bytes of a role file."""

_KEYS = (
    "name",
    "description",
    "tools",
    "disallowedTools",
    "model",
    "command",
    "credential",
    "workspace",
    "repository",
    "operations",
)
_NO_EFFECT = frozenset(
    {
        *("color", "permissionMode", "skills", "memory", "hooks", "effort", "maxTurns", "mcpServers", "background"),
        *("isolation", "initialPrompt", "author", "version", "category", "tags", "license", "metadata"),
    }
)
"""Known keys that ask for nothing which a reader could miss here; permissionMode is looked at beside the tools."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?")
_FENCE = re.compile(r"^---[ \t]*\r?$", re.MULTILINE)
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*):(?:[ \t]+(.*))?")
_BLOCK = re.compile(r"[|>][-+]?")
_BETWEEN = re.compile(r"[,\s]\s*(?![^(]*\))")
"""Between the tools of one text: a comma or a blank, but not within brackets, as in `Bash(git:*, npm test)`."""


class RoleError(Exception):
    """A role file that cannot be used: `path`, `line` (0: unknown) and why."""

    def __init__(self, path: str, line: int, why: str) -> None:
        self.path = path
        self.line = line
        self.why = why
        super().__init__(f"{path}:{line}: {why}" if line else f"{path}: {why}")


@dataclass(frozen=True)
class RoleFile:
    """A role as its file states it."""

    name: str
    description: str = ""
    prompt: str = ""
    tools: tuple[str, ...] | None = None  # None: not stated, all of them
    model: str | None = None  # a name of the settings' models, a model id, or None for the default
    command: tuple[str, ...] | None = None
    credential: bool = False
    workspace: Literal["worktree", "none"] = "worktree"
    needs_repository: bool = True  # whether admission must find a repository, even without a worktree
    operations: tuple[str, ...] = ()
    source: str = "package"  # package, settings or repository
    path: str = ""
    warnings: tuple[str, ...] = ()


def parse_role(text: bytes, *, name_hint: str, source: str) -> RoleFile:
    """The role in a file's bytes. `name_hint` is the file's path: its stem is the name of a role that states none.

    Raises RoleError.
    """
    if len(text) > LARGEST_FILE:
        raise RoleError(name_hint, 0, f"{len(text)} bytes; a role file has at most {LARGEST_FILE}")
    try:
        content = text.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise RoleError(name_hint, 0, f"no UTF-8 text (byte {error.start})") from error
    if "\0" in content:
        raise RoleError(name_hint, 0, "a NUL byte: this is no text")
    front, body = _split(content, name_hint)
    warnings: list[str] = []
    fields = _Fields(_front_matter(front, name_hint, warnings), name_hint, front, warnings)
    fields.note_unknown()
    workspace = fields.choice("workspace", ("worktree", "none"), "worktree")
    return RoleFile(
        name=fields.name(PurePath(name_hint).stem),
        description=fields.text("description") or "",
        prompt=body.strip(),
        tools=_tools(fields),
        model=_model(fields),
        command=fields.command(),
        credential=fields.boolean("credential", default=False),
        workspace="none" if workspace == "none" else "worktree",
        needs_repository=fields.boolean("repository", default=workspace == "worktree"),
        operations=fields.texts("operations") or (),
        source=source,
        path=name_hint,
        warnings=tuple(warnings),
    )


def _split(content: str, path: str) -> tuple[str, str]:
    fences = list(_FENCE.finditer(content))
    if not fences or content[: fences[0].start()].strip():
        raise RoleError(path, 1, "no front matter: a role file starts with a line of three dashes (---)")
    if len(fences) == 1:
        raise RoleError(path, 1, "the front matter does not end: a second line of three dashes (---) is missing")
    return content[fences[0].end() : fences[1].start()], content[fences[1].end() :]


def _front_matter(front: str, path: str, warnings: list[str]) -> Mapping[str, Any]:
    try:
        fields = read_plain_yaml(front)
    except PlainYamlError as error:
        loose = _line_by_line(front, path) if error.kind is YamlFault.SYNTAX else None
        if loose is None:
            raise RoleError(path, error.line, str(error)) from error
        warnings.append(f"{path}:{error.line}: {error.found}; read line by line")
        return loose
    if not isinstance(fields, dict):
        raise RoleError(path, 2, "the front matter is no list of `key: value` lines")
    if isinstance(fields, OddKeys):
        what = f"the key {fields.doubled[0]!r} twice" if fields.doubled else "a key that is no text"
        raise RoleError(path, 2, what)
    return fields


def _line_by_line(front: str, path: str) -> dict[str, Any] | None:
    """The fields where only a known key at the start of a line begins one: `user: hello` in a description does not."""
    fields: dict[str, Any] = {}
    key = ""
    for number, line in enumerate(front.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match and (not key or match[1] in _KEYS or match[1] in _NO_EFFECT):
            key = match[1]
            if key in fields:
                raise RoleError(path, number, f"the key {key!r} twice")
            value = (match[2] or "").strip()
            fields[key] = "" if _BLOCK.fullmatch(value) else value
        elif line.strip() and key:
            fields[key] = f"{fields[key]}\n{line.strip()}".lstrip("\n")
        elif line.strip():
            return None
    return {name: _unquoted(value) for name, value in fields.items()} or None


def _unquoted(text: str) -> str:
    for quote in ('"', "'"):
        if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
            return text[1:-1]
    return text


class _Fields:
    """The front matter's fields, each with its type checked."""

    def __init__(self, fields: Mapping[str, Any], path: str, front: str, warnings: list[str]) -> None:
        self.fields = fields
        self.path = path
        self.front = front
        self.warnings = warnings

    def wrong(self, key: str, expected: str) -> RoleError:
        """The error of a field; its line is looked up."""
        lines = self.front.splitlines()
        line = next((n for n, text in enumerate(lines, 1) if text.startswith(f"{key}:")), 0)
        return RoleError(self.path, line, f"`{key}` must be {expected}")

    def note_unknown(self) -> None:
        """A warning for every key that has no effect here."""
        for key in self.fields:
            if key not in _KEYS and key not in _NO_EFFECT:
                near = difflib.get_close_matches(key, _KEYS, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                self.warnings.append(f"{self.path}: the key {key!r} has no effect here{hint}")

    def name(self, default: str) -> str:
        """The role's name."""
        name = self.text("name") or default
        if not _NAME.fullmatch(name):
            raise self.wrong("name", f"letters, digits, blanks, '.', - and _, at most 64 (it is {name!r})")
        return name

    def text(self, key: str) -> str | None:
        """A text, None where it is absent or empty."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a text; put quotes around it")
        return value.strip() or None if value else None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts, or one text with commas; None where it is absent."""
        value = self.fields.get(key)
        if isinstance(value, str):
            value = _listed(value)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise self.wrong(key, "a list of texts, or one text with commas")
        return tuple(part.strip() for part in value if part.strip())

    def command(self) -> tuple[str, ...] | None:
        """The argv of a command agent."""
        value = self.fields.get("command")
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
            raise self.wrong("command", 'a list of texts, such as ["bash", "agent.sh"]')
        if not value[0]:
            raise self.wrong("command", "a list whose first text names a program")
        return tuple(value)

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.fields.get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.wrong(key, "true or false")

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        value = self.text(key) or default
        if value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return value


def _listed(text: str) -> list[str]:
    """The members of a list written as one text: with commas or blanks, and, line by line, in YAML's two ways."""
    text = text.strip()
    if text.lower() == "all tools":
        return [text]
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    lines = [line.strip().removeprefix("- ") for line in text.splitlines()]
    return [part.strip().strip("\"'") for part in _BETWEEN.split("\n".join(lines))]


def _tools(fields: _Fields) -> tuple[str, ...] | None:
    looks_only = fields.fields.get("permissionMode") == "plan"
    tools, warnings = choose_tools(fields.texts("tools"), fields.texts("disallowedTools"), looks_only=looks_only)
    fields.warnings += [f"{fields.path}: {warning}" for warning in warnings]
    return tools


def _model(fields: _Fields) -> str | None:
    model = fields.text("model")
    return None if model in {None, "inherit", "default"} else model
