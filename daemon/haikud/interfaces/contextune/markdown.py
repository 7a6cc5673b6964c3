"""As much Markdown as a task file needs: headings, list items with their check boxes, and labels above lists. Pure.

Nothing within a code fence is a heading or an item. Line numbers count from 1, in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_ITEM = re.compile(r"(\s*)(?:[-*+]|(\d+)[.)])\s+(?:\[([ xX])\]\s+)?(.*)$")
_LABEL = re.compile(r"\s*(?:\*\*|__)(.+?):?(?:\*\*|__):?\s*$")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Line:
    """A line of the file; `is_code` within a fence, the fence itself too."""

    number: int
    text: str
    is_code: bool = False


@dataclass
class Section:
    """A heading and what stands under it, up to the next heading of its level or a higher one."""

    title: str
    number: int
    lines: list[Line] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The body as it is, without blank lines around it."""
        return "\n".join(line.text for line in self.lines).strip("\n").rstrip()


@dataclass(frozen=True)
class Item:
    """One item of a list at the outermost level, with what is indented under it."""

    number: int
    text: str
    label: str  # the bold line or sub-heading above it
    is_done: bool  # a ticked box
    is_numbered: bool


def read_lines(text: str, first: int = 1) -> list[Line]:
    """The lines of a text whose first line has that number."""
    lines: list[Line] = []
    fence = ""
    for number, line in enumerate(text.splitlines(), first):
        mark = _FENCE.match(line)
        lines.append(Line(number, line, is_code=bool(fence or mark)))
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
    return lines


def heading(line: Line) -> tuple[int, str] | None:
    """A heading's level and text."""
    match = None if line.is_code else _HEADING.match(line.text)
    return (len(match[1]), match[2]) if match else None


def split_sections(lines: Sequence[Line]) -> tuple[Section, list[Section]]:
    """The part before the first section, whose title is the document's, and the sections: those of level 2.

    Where there is none of level 2, those of the highest level below the title.
    """
    levels = sorted({found[0] for line in lines if (found := heading(line))})
    below = [level for level in levels if level > 1]
    level = below[0] if below else 2
    head, sections = Section("", 1), list[Section]()
    for line in lines:
        found = heading(line)
        if found and found[0] == 1 and not sections and not head.title:
            head.title, head.number = found[1], line.number
        elif found and found[0] <= level:
            sections.append(Section(found[1], line.number))
        else:
            (sections[-1] if sections else head).lines.append(line)
    return head, sections


def items_of(lines: Sequence[Line]) -> tuple[list[Item], list[Line]]:
    """The outermost list items of a section, and the lines that belong to none (labels above items left out)."""
    items: list[Item] = []
    rest: list[Line] = []
    label, under = "", -1  # `under`: the indentation of the item that lines may belong to
    for line in lines:
        match = None if line.is_code else _ITEM.match(line.text)
        indent = len(line.text) - len(line.text.lstrip())
        if match and (under < 0 or len(match[1]) <= under):
            under = len(match[1])
            ticked = (match[3] or " ").strip() != ""
            items.append(Item(line.number, match[4].strip(), label, ticked, bool(match[2])))
        elif under >= 0 and line.text.strip() and (indent > under or line.is_code):
            last = items[-1]
            text = f"{last.text}\n{line.text[under:].rstrip()}"
            items[-1] = Item(last.number, text, last.label, last.is_done, last.is_numbered)
        elif not line.text.strip():
            rest.append(line)
        else:
            under = -1
            found = heading(line)
            named = None if line.is_code else _LABEL.match(line.text)
            if found or named:
                label = plain_words(found[1] if found else named[1] if named else "")
            else:
                rest.append(line)
    return items, rest


def sub_sections(section: Section) -> list[Section]:
    """The sections under a section's own sub-headings; none where it has none."""
    _, found = split_sections(section.lines)
    return found


def code_in(text: str) -> Iterator[str]:
    """What stands in backticks."""
    yield from (match[1].strip() for match in _CODE.finditer(text))


def plain_words(text: str) -> str:
    """A heading's or label's words: no emoji, no marks."""
    return " ".join(re.sub(r"[^\w\s/&'-]", " ", text).split())
