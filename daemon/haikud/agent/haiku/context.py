"""Selective context: the files that a task names as worth reading, put into its first message.

They are read once, beneath the worktree whatever symlinks say, as far as `context.max_tokens` goes; a file that does
not fit is named and left out whole, and the answer says so. The message stays as it is in the transcript, so that the
files are part of the cached prefix from the second call on.

Why contents and not just names: measured with `python -m benchmarks.prompt` (a scripted model on the real loop, Haiku
5.5's prices), a task that needs all of what it names costs 21 % less and a call less with contents (two files of 500
and 300 tokens: 0.000265 against 0.000335 USD). Half of it needed: about the same. One of four, of 2,000 tokens each:
contents cost 2.5 times as much (0.0013 against 0.0005 USD). So contents it is, for whoever names a file says that it is
worth reading; and a cap, for whoever names too much.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from haikud.agent.haiku.tools.outcome import BadInput
from haikud.agent.haiku.tools.paths import Beneath
from haikud.contracts.base import JsonObject
from haikud.costs.tokens import BYTES_PER_TOKEN, estimate_tokens

MOST_FILES = 200
"""Beyond these, names are not even looked up."""


@dataclass(frozen=True)
class ContextFile:
    """One file that the task names. `text` is None where it was left out, and `why` says so."""

    path: str
    tokens: int = 0
    text: str | None = None
    why: str = ""


def gather_context(
    worktree: Path, names: Iterable[str], max_tokens: int, copied: Iterable[str] = ()
) -> list[ContextFile]:
    """The named files in their order; with 0 tokens their names alone, and how large they are.

    `copied`: files that are not in git, such as .env. They may hold secrets, and are never sent unasked.
    """
    files = Beneath(worktree)
    private = {os.path.realpath(worktree / name) for name in copied}
    gathered: list[ContextFile] = []
    left = max_tokens
    for number, name in enumerate(dict.fromkeys(names)):
        if number >= MOST_FILES:
            one = ContextFile(name, why=f"only the first {MOST_FILES} files are looked at")
        elif "\0" not in name and os.path.realpath(worktree / name) in private:
            one = ContextFile(name, why="a copy of what is not in git (git.copy_files), which may hold credentials")
        else:
            one = _read(files, name, left, names_only=max_tokens == 0)
        if one.text is not None:
            left -= one.tokens
        gathered.append(one)
    return gathered


def _read(files: Beneath, name: str, left: int, *, names_only: bool) -> ContextFile:
    tokens = 0
    try:
        path = files.relative(name)
        tokens = -(-_size(files, path) // BYTES_PER_TOKEN)
        why = _unfit(tokens, left, names_only=names_only)
        data = b"" if why else files.read(path, left * BYTES_PER_TOKEN)
        text = data.decode()
    except UnicodeDecodeError:
        return ContextFile(name, tokens, why="no UTF-8 text")
    except BadInput as error:
        return ContextFile(name, tokens, why=str(error).rstrip("."))
    except OSError as error:
        return ContextFile(name, tokens, why=error.strerror or "cannot be read")
    why = why or ("a binary file" if "\0" in text else "")
    return ContextFile(name, tokens, why=why) if why else ContextFile(name, estimate_tokens(data), text)


def _unfit(tokens: int, left: int, *, names_only: bool) -> str:
    if names_only:
        return "names only (context.max_tokens is 0)"
    return f"beyond context.max_tokens, of which {left} were left" if tokens > left else ""


def _size(files: Beneath, path: PurePosixPath) -> int:
    """Bytes of a regular file; BadInput for anything else, OSError where it is not there."""
    with files.opened(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) as descriptor:
        status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BadInput("it is no regular file")
    return status.st_size


def context_words(files: Iterable[ContextFile]) -> list[str]:
    """The part of the first message: every name with its tokens, then the contents of those that are in it."""
    gathered = list(files)
    if not gathered:
        return []
    names = ["Worth reading:"]
    for one in gathered:
        about = f"about {one.tokens} tokens" if one.tokens else ""
        note = "contents below" if one.text is not None else f"not included: {one.why}"
        names.append(f"- {one.path} ({', '.join(word for word in (about, note) if word)})")
    contents = [f'<file path="{one.path}">\n{one.text}\n</file>' for one in gathered if one.text is not None]
    return [*names, *contents]


def context_report(files: Iterable[ContextFile], max_tokens: int) -> JsonObject:
    """What of the context was sent and what was not, for the answer."""
    gathered = list(files)
    return {
        "max_tokens": max_tokens,
        "tokens": sum(one.tokens for one in gathered if one.text is not None),
        "included": [{"path": one.path, "tokens": one.tokens} for one in gathered if one.text is not None],
        "left_out": [{"path": one.path, "tokens": one.tokens, "why": one.why} for one in gathered if one.text is None],
    }
