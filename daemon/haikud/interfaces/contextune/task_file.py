"""One task file, `tasks/ID.md`: front matter and Markdown become the fields of a task. Pure.

What has a field of its own goes there: steps, files, tests, success criteria. All else stays in the description, under
its heading and in its order, so that the agent reads it; a section that a field holds only in part stays there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from haikud.interfaces.contextune.markdown import (
    Item,
    Line,
    Section,
    code_in,
    items_of,
    plain_words,
    read_lines,
    split_sections,
    sub_sections,
)

_PROSE = {"objective", "objectives", "goal", "goals", "description", "summary", "overview", "context"}
_STEPS = {"implementation steps", "steps", "implementation", "implementation plan", "implementation checklist", "tasks"}
_APPROACH = {"implementation approach", "approach"}
_CRITERIA = {"acceptance criteria", "success criteria", "definition of done", "done when"}
_OPERATIONS = {
    **dict.fromkeys(("create", "creates", "add", "new"), "create"),
    **dict.fromkeys(("modify", "modifies", "update", "edit", "change"), "modify"),
    **dict.fromkeys(("delete", "remove"), "delete"),
    **dict.fromkeys(("read", "reference", "review", "see"), "read"),
}
_LOCATION = re.compile(r"(:\d+(-\d+)?(,\d+(-\d+)?)*|#L\d+(-L?\d+)?)$")
_LOOKS_LIKE_PATH = re.compile(r"[\w.@()\[\]*~/-]*[\w*](/[\w.@()\[\]*-]+)+/?|[\w.-]+\.[A-Za-z]\w{0,9}")
_LONGEST_PATH = 500
_NO_FILE = re.compile(r"\(?(if any|none|n/a|-)\b.*", re.IGNORECASE)
_FOOTER = re.compile(r"\s*(\*\*(Worktree|Branch):\*\*\s*`?([^`\s]*)`?|\S*\s*Auto-created via .*|-{3,}|)\s*$")


@dataclass
class TaskText:
    """What a task file's body says."""

    title: str = ""
    title_line: int = 1
    prose: list[str] = field(default_factory=list)  # of the description, in the file's order
    steps: list[tuple[int, str]] = field(default_factory=list)  # line, text
    files: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    reads: list[tuple[int, str]] = field(default_factory=list)  # files that are only worth reading
    tests: list[tuple[int, str]] = field(default_factory=list)
    criteria: list[tuple[int, str]] = field(default_factory=list)
    footer: dict[str, str] = field(default_factory=dict)  # the branch and worktree that it names
    remarks: list[tuple[int, str]] = field(default_factory=list)  # what the reader should know


def split_front_matter(text: str) -> tuple[str, str, int] | None:
    """The front matter (without its dashes), the body, and the body's first line; None where there is none."""
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != "---":
        return None
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "".join(lines[1:number]), "".join(lines[number + 1 :]), number + 2
    return None


def read_task_text(body: str, first: int) -> TaskText:
    """Read a body whose first line has that number in the file."""
    found = TaskText()
    lines = _without_footer(read_lines(body, first), found)
    head, sections = split_sections(lines)
    found.title, found.title_line = plain_words_of_title(head.title), head.number
    if head.text:
        found.prose.append(head.text)
    for section in sections:
        _read_section(section, found)
    return found


def plain_words_of_title(title: str) -> str:
    """A title without code marks and emphasis around it."""
    return title.replace("`", "").strip("*_ ")


def _without_footer(lines: list[Line], found: TaskText) -> list[Line]:
    """The lines without those that Contextune puts at the end: its own branch, worktree and signature."""
    end = len(lines)
    while end and not lines[end - 1].is_code and (match := _FOOTER.match(lines[end - 1].text)):
        if match[2]:
            found.footer[match[2].lower()] = match[3]
        end -= 1
    return lines[:end]


def _read_section(section: Section, found: TaskText) -> None:
    title = plain_words(section.title)
    words = title.lower()
    whole = f"## {title}\n\n{section.text}" if section.text else ""
    if words in _PROSE:
        found.prose.append(section.text if words not in {"overview", "context"} else whole)
    elif words in _STEPS or re.match(r"implementation steps\b", words):
        rest = _read_steps(section, found, numbered_only=False)
        found.prose.append(f"## {title}\n\n{rest}" if rest else "")
    elif words in _APPROACH:
        rest = _read_steps(section, found, numbered_only=True)
        found.prose.append(f"## {title}\n\n{rest}" if rest else "")
    elif re.match(r"(related |affected |key )?files?\b", words):
        found.prose.append("" if _read_files(section, words, found) else whole)
    elif re.match(r"(unit )?test(s|ing)?\b", words):
        found.prose.append("" if _read_texts(section, found.tests) else whole)
    elif words in _CRITERIA:
        found.prose.append("" if _read_texts(section, found.criteria) else whole)
    else:
        found.prose.append(whole)


def _read_steps(section: Section, found: TaskText, *, numbered_only: bool) -> str:
    """Take the steps out of a section; what is left of it."""
    parts = sub_sections(section)
    if parts and not numbered_only:
        found.steps += [(part.number, f"{part.title}\n{part.text}".strip()) for part in parts]
        return split_sections(section.lines)[0].text
    items, rest = items_of(section.lines)
    if numbered_only and not (items and all(item.is_numbered for item in items)):
        return section.text
    found.steps += [(item.number, _with_mark(item)) for item in items]
    return "\n".join(line.text for line in rest).strip()


def _with_mark(item: Item) -> str:
    return f"(done already) {item.text}" if item.is_done else item.text


def _read_texts(section: Section, into: list[tuple[int, str]]) -> bool:
    """Take a list's items; whether that was all there is."""
    items, rest = items_of(section.lines)
    into += [(item.number, f"{item.label}: {item.text}" if item.label else item.text) for item in items]
    return not any(line.text.strip() for line in rest)


def _read_files(section: Section, title: str, found: TaskText) -> bool:
    """Take the paths; whether that was all there is."""
    items, rest = items_of(section.lines)
    complete = not any(line.text.strip() for line in rest)
    for item in items:
        paths = list(_paths(item))
        if not paths:
            complete = complete and bool(_NO_FILE.fullmatch(item.text))
            continue
        path, remark = paths[0], _remark(item.text)
        operation = _operation(item.label) or _operation(title)
        complete = complete and not remark
        if operation == "read":
            if path.startswith(("~", "/")):
                found.remarks.append((item.number, f"{path} lies outside the repository: it stands in the description"))
                complete = False
            else:
                found.reads.append((item.number, path))
        else:
            found.files.append((item.number, {"path": path} | ({"operation": operation} if operation else {})))
    return complete


def _paths(item: Item) -> Iterator[str]:
    candidates: Sequence[str] = list(code_in(item.text))
    if not candidates:
        first = item.text.split()[:1]
        candidates = [word for word in first if len(word) < _LONGEST_PATH and _LOOKS_LIKE_PATH.fullmatch(word)]
    for text in candidates:
        path = _LOCATION.sub("", text.strip()).removeprefix("./")
        if path and " " not in path:
            yield path


def _remark(text: str) -> str:
    """What an item says beside its path."""
    rest = re.sub(r"`[^`]+`", "", text, count=1) if "`" in text else " ".join(text.split()[1:])
    return rest.strip(" -\u2013\u2014:;,.\n")


def _operation(label: str) -> str | None:
    """The operation that a label names; None where it names none, or several."""
    named = {_OPERATIONS[word] for word in re.findall(r"[a-z]+", label.lower()) if word in _OPERATIONS}
    return named.pop() if len(named) == 1 else None
