"""The tool `str_replace_based_edit_tool` (text_editor_20250728): view, create, str_replace, insert.

Promises: files beneath the worktree only (paths.py); a file keeps its mode, its line endings and bytes that are no
UTF-8. A replacement is made only where the text stands exactly once. Everything that goes wrong is a result for the
model, which says what to do instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from haikud.agent.haiku.tools.outcome import BadInput, ToolOutcome, required_number, required_text
from haikud.agent.haiku.tools.paths import Beneath
from haikud.contracts.masking import has_mark

_MOST_FILE_BYTES = 8 * 1024 * 1024
_MOST_ENTRIES = 400
_LEVELS = 2
_SHOWN_LINES = 4
"""Before and after a change, so that the model sees that it landed where it should."""


class EditorTool:
    """The editor of one session."""

    def __init__(self, worktree: Path, most_output: int) -> None:
        self._files = Beneath(worktree)
        self._most_output = most_output

    def use(self, given: Mapping[str, Any]) -> ToolOutcome:
        """Carry out one command of the editor."""
        commands = {
            "view": self._view,
            "create": self._create,
            "str_replace": self._replace,
            "insert": self._insert,
        }
        name = given.get("command")
        if not isinstance(name, str) or name not in commands:
            raise BadInput(f"`command` must be one of {', '.join(commands)}, not {name!r}.")
        path = required_text(given, "path")
        _refuse_marks(given)
        try:
            return ToolOutcome(commands[name](self._files.relative(path), given))
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror or error}.") from error
        except UnicodeEncodeError as error:
            raise BadInput(f"the text cannot be written as UTF-8: {error.reason}.") from error

    def _view(self, path: PurePosixPath, given: Mapping[str, Any]) -> str:
        if self._files.is_folder(path):
            return self._view_folder(path)
        lines = self._read(path).split("\n")
        if lines[-1] == "":
            lines.pop()
        first, last = _view_range(given.get("view_range"), len(lines))
        shown: list[str] = []
        room = self._most_output
        for number in range(first, last + 1):
            line = f"{number:6}\t{lines[number - 1]}"
            room -= len(line.encode("utf-8", "replace")) + 1
            if room < 0 and shown:
                shown.append(f"[lines {number} to {last} are not shown: use view_range to see them]")
                break
            shown.append(line if room >= 0 else f"{line[: self._most_output]} [the line goes on]")
        return "\n".join(shown) or "(the file is empty)"

    def _view_folder(self, path: PurePosixPath) -> str:
        entries = self._entries(path, _LEVELS)
        shown = [name for name, _ in zip(entries, range(_MOST_ENTRIES), strict=False)]
        if len(shown) == _MOST_ENTRIES:
            shown.append("[there is more: view a folder further down]")
        return "\n".join(shown) or "(the folder is empty)"

    def _entries(self, path: PurePosixPath, levels: int) -> Iterator[str]:
        with self._files.opened(path, os.O_RDONLY | os.O_DIRECTORY) as folder, os.scandir(folder) as scan:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan)
        for name, is_folder in entries:
            if name.lower() in {".git", "node_modules", "__pycache__"}:
                continue
            yield f"{path / name}{'/' if is_folder else ''}"
            if is_folder and levels > 1:
                yield from self._entries(path / name, levels - 1)

    def _create(self, path: PurePosixPath, given: Mapping[str, Any]) -> str:
        text = required_text(given, "file_text", empty=True)
        is_new = self._files.write(path, _to_bytes(text))
        return f"{path} was {'made' if is_new else 'overwritten'}: {_count_lines(text)}."

    def _replace(self, path: PurePosixPath, given: Mapping[str, Any]) -> str:
        text = self._read(path)
        old = _with_endings_of(text, required_text(given, "old_str"))
        new = _with_endings_of(text, required_text(given, "new_str", empty=True) if "new_str" in given else "")
        count = text.count(old)
        if count == 0:
            raise BadInput(f"`old_str` does not stand in {path}. View the file and copy the text exactly, blanks too.")
        if count > 1:
            lines = ", ".join(str(number) for number in _lines_with(text, old))
            raise BadInput(f"`old_str` stands {count} times in {path} (lines {lines}): give more of what is around it.")
        before, after = text.split(old)
        changed = before + new + after
        self._files.write(path, _to_bytes(changed))
        return f"{path} was changed:\n{_around(changed, before, new)}"

    def _insert(self, path: PurePosixPath, given: Mapping[str, Any]) -> str:
        text = self._read(path)
        place = required_number(given, "insert_line")
        name = "insert_text" if "insert_text" in given else "new_str"  # as older versions of the tool call it
        added = _with_endings_of(text, required_text(given, name))
        ending = "\r\n" if "\r\n" in text else "\n"
        lines = [f"{line}\n" for line in text.split("\n")]
        lines[-1] = lines[-1].removesuffix("\n")
        if not lines[-1]:
            lines.pop()
        if not 0 <= place <= len(lines):
            raise BadInput(f"`insert_line` must lie between 0 and {len(lines)}, the lines of {path}, not {place}.")
        if place and not lines[place - 1].endswith("\n"):
            lines[place - 1] += ending
        added = added if added.endswith("\n") else added + ending
        changed = "".join([*lines[:place], added, *lines[place:]])
        self._files.write(path, _to_bytes(changed))
        return f"{path} was changed:\n{_around(changed, ''.join(lines[:place]), added)}"

    def _read(self, path: PurePosixPath) -> str:
        if self._files.is_folder(path):
            raise BadInput(f"{path} is a folder.")
        data = self._files.read(path, _MOST_FILE_BYTES)
        if b"\0" in data:
            raise BadInput(f"{path} is a binary file.")
        return data.decode("utf-8", "surrogateescape")


def _refuse_marks(given: Mapping[str, Any]) -> None:
    """A mark stands for a secret that the model has not seen: written back, it would take the secret's place."""
    for name in ("file_text", "old_str", "new_str", "insert_text"):
        text = given.get(name)
        if isinstance(text, str) and has_mark(text):
            raise BadInput(
                f"`{name}` holds a mark [masked: ...], which stands for a secret in the file that you do not see. "
                "Change only the lines around it, with str_replace or sed; the secret stays as it is."
            )


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _with_endings_of(text: str, words: str) -> str:
    """The model's words with the line endings of a file that uses CRLF throughout."""
    uses_crlf = "\r\n" in text and text.count("\n") == text.count("\r\n")
    return words.replace("\r\n", "\n").replace("\n", "\r\n") if uses_crlf else words


def _view_range(given: Any, count: int) -> tuple[int, int]:
    if given is None:
        return 1, count
    if not isinstance(given, list) or len(given) != 2:
        raise BadInput("`view_range` must be two line numbers, as [1, 50]; -1 stands for the last line.")
    first, last = (required_number({"view_range": number}, "view_range") for number in given)
    last = count if last == -1 else min(last, count)
    if not 1 <= first <= max(last, 1):
        raise BadInput(f"`view_range` {given} does not lie within the {count} lines of the file.")
    return first, last


def _lines_with(text: str, old: str) -> Iterator[int]:
    at = text.find(old)
    while at >= 0:
        yield text.count("\n", 0, at) + 1
        at = text.find(old, at + len(old))


def _around(text: str, before: str, added: str) -> str:
    """The lines of a change and some before and after it; of a long one its ends: the model wrote it a moment ago."""
    lines = text.split("\n")
    first = before.count("\n") + 1
    last = first + added.count("\n") - added.endswith("\n")
    start, end = max(1, first - _SHOWN_LINES), min(len(lines), last + _SHOWN_LINES)
    shown = [f"{number:6}\t{lines[number - 1]}" for number in range(start, end + 1)]
    head, tail = first - start + _SHOWN_LINES, last - start + 1 - _SHOWN_LINES
    if tail - head > _SHOWN_LINES:
        shown[head:tail] = [f"[{tail - head} lines as you gave them]"]
    return "\n".join(shown)


def _count_lines(text: str) -> str:
    count = text.count("\n") + (1 if text and not text.endswith("\n") else 0)
    return "1 line" if count == 1 else f"{count} lines"
