"""Long output: its head and tail for the model, and all of it in a file that the agent can read with its own tools.

The files lie in `$HAIKUD_OUT/outputs`, the only place of the spool that an attempt's commands see, and are gone when
the session ends: they serve this conversation, and the log has the same words for people. Promises: memory is constant;
all files of a session together stay within a bound (the oldest go first); nothing but a new file is ever written, and
no symlink is followed, though an agent may put what it likes into that folder. A file that cannot be written (a full
disk) is no failure: the result says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from pathlib import Path
from typing import Self

from haikud.workspace.files import remove_entry

FOLDER = "outputs"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 100
"""Names that an agent has taken are passed over, within reason."""


class HeadAndTail:
    """Keeps the first and the last half of what may be kept, in constant memory."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._left_out = 0
        self._lines = 0  # ends of lines, in all that came

    def add(self, data: bytes) -> None:
        """Take more output in."""
        self._lines += data.count(b"\n")
        room = self._half - len(self._head)
        self._head += data[:room]
        rest = data[room:]
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._half:
            self._drop(len(self._tail[0]))

    def text(self, about_the_rest: str = "") -> str:
        """What is kept, as text, with what is left out in between named."""
        if self._tail_bytes > self._half:
            self._drop(self._tail_bytes - self._half)
        head, tail = bytes(self._head), b"".join(self._tail)
        if not self._left_out:
            return _readable(head + tail)
        first, last = head.count(b"\n") + 1, self._lines - tail.count(b"\n") + 1
        lines = f", lines {first} to {last}" if last > first else ""
        note = f"{self._left_out} bytes left out here{lines}{about_the_rest}"
        return f"{_readable(head)}\n[... {note} ...]\n{_readable(tail)}"

    def _drop(self, count: int) -> None:
        first = self._tail.popleft()
        if count < len(first):
            self._tail.appendleft(first[count:])
        self._tail_bytes -= count
        self._left_out += count


class FullOutputs:
    """The files of one session, of `most` bytes together. `out` is HAIKUD_OUT."""

    def __init__(self, out: Path, most: int) -> None:
        self._out = out
        self._most = most
        self._kept: deque[tuple[str, int]] = deque()  # name and length, the oldest first
        self._number = 0

    def begin(self) -> FullOutput:
        """A new file; OSError where it cannot be made."""
        out = os.open(self._out, _FOLDER_FLAGS)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(FOLDER, 0o700, dir_fd=out)
            folder = os.open(FOLDER, _FOLDER_FLAGS, dir_fd=out)
        finally:
            os.close(out)
        try:
            return FullOutput(*self._made(folder), self._out / FOLDER, self._most)
        finally:
            os.close(folder)

    def note(self, name: str, size: int) -> None:
        """That file is finished; older ones make way where all together are too much."""
        self._kept.append((name, size))
        while sum(size for _, size in self._kept) > self._most:
            self._remove(self._kept.popleft()[0])

    def close(self) -> None:
        """Remove them all."""
        if self._number:
            with contextlib.suppress(OSError):
                remove_entry(self._out / FOLDER)

    def _made(self, folder: int) -> tuple[int, str]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_TRIES):
            self._number += 1
            name = f"{self._number}.txt"
            with contextlib.suppress(FileExistsError):
                return os.open(name, flags, 0o600, dir_fd=folder), name
        raise OSError(errno.EEXIST, "its folder is full of names that others have made")

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):  # gone already, or made something else of: then it is the agent's own
            folder = os.open(self._out / FOLDER, _FOLDER_FLAGS)
            try:
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)


class FullOutput:
    """One file being written, at most `most` bytes of it."""

    def __init__(self, file: int, name: str, place: Path, most: int) -> None:
        self._file = file
        self.name = name
        self.path = place / name
        self.size = 0
        self.is_cut = False
        self._most = most

    def add(self, data: bytes) -> None:
        """Write more; OSError where that fails."""
        part = data[: self._most - self.size]
        self.is_cut = self.is_cut or len(part) < len(data)
        while part:
            written = os.write(self._file, part)
            self.size += written
            part = part[written:]

    def close(self) -> None:
        """No more comes."""
        os.close(self._file)


class Output:
    """What one command prints. Use it as a context manager, then ask for the text."""

    def __init__(self, most: int, files: FullOutputs | None) -> None:
        self._kept = HeadAndTail(most)
        self._most = most
        self._files = files
        self._all = bytearray()  # until it is too long
        self._file: FullOutput | None = None
        self._trouble: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._files is not None:
            self._file.close()
            self._files.note(self._file.name, self._file.size)

    def add(self, data: bytes) -> None:
        """Take more output in."""
        self._kept.add(data)
        if self._files is None or self._trouble is not None:
            return
        try:
            if self._file is not None:
                self._file.add(data)
                return
            self._all += data
            if len(self._all) > self._most:
                self._file = self._files.begin()
                self._file.add(bytes(self._all))
                self._all.clear()
        except OSError as error:
            self._trouble = error

    def text(self) -> str:
        """Head and tail, and in between how to see the rest."""
        return self._kept.text(self._about_the_rest())

    def _about_the_rest(self) -> str:
        if self._trouble is not None:
            return f"; the whole could not be kept: {self._trouble.strerror}"
        if self._file is None:
            return ""
        what = f"the first {self._file.size} bytes are" if self._file.is_cut else "all of it is"
        return f"; {what} in {self._file.path}: see more with grep -n or sed -n 'FIRST,LASTp'"


def _readable(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")
