"""Refs read as the files that git keeps them in (gitrepository-layout(5), git-pack-refs(1)), without a process each.

A git process costs milliseconds, a small attempt asked for a dozen refs by one each. Where a file does not say it
plainly (a symbolic ref, what a power cut left, a repository that keeps its refs in a reftable) git is asked. Reads
only, and says nothing about the objects: a branch of a damaged repository may name a commit that is not there. Fails
with `GitError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from haikud.workspace.files import is_folder, read_small
from haikud.workspace.git import Git, as_text

_SHA = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PACKED = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/[^\n]*)")
_ODD_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[./]$")


def find_ref(git_common_dir: str | Path, name: str) -> str | None:
    """What a full ref name stands for; None where there is no such ref."""
    common = Path(git_common_dir)
    loose = None if _is_elsewhere(common) else _loose(common, name)
    if loose is None:
        return _asked(common, name)
    # Loose first: git packs a ref before it removes its file.
    return loose or _packed(common, name)


def head_branch(git_dir: str | Path) -> str:
    """The full name of the branch that HEAD names, also one that is not there yet; empty for a detached HEAD."""
    text = read_small(Path(git_dir) / "HEAD", 4096) or b""
    if text.startswith(b"ref: refs/heads/") and not text.startswith(b"ref: refs/heads/."):
        return os.fsdecode(text[5:]).rstrip("\n")
    if _SHA.fullmatch(text.rstrip(b"\n")):
        return ""
    return Git(git_dir).ask("symbolic-ref", "--quiet", "HEAD", ok=(0, 1)).text.strip()


def has_refs_at(git_common_dir: str | Path, name: str) -> bool:
    """Whether there is a ref of this name, or one beneath it: git can then have no other one there."""
    if find_ref(git_common_dir, name) is not None:
        return True
    return bool(refs_beneath(git_common_dir, [name]))


def refs_beneath(git_common_dir: str | Path, names: Iterable[str]) -> dict[str, str]:
    """Full name -> object, of all refs beneath these (`refs/tags`, without a last `/`), symbolic ones followed."""
    common, names = Path(git_common_dir), list(names)
    found = None if _is_elsewhere(common) else _read_beneath(common, names)
    if found is not None:
        return found
    lines = Git(common).ask("for-each-ref", "--format=%(objectname) %(refname)", "--", *names).stdout.splitlines()
    pairs = ((as_text(name), sha.decode()) for sha, name in (line.split(b" ", 1) for line in lines))
    return {name: sha for name, sha in pairs if name not in names and is_ref_name(name)}


def plain_refs(git_dir: Path) -> dict[str, str] | None:
    """All refs of a git folder that an agent has written, HEAD excepted; None where only git could tell.

    What is no ref's name for git is left out.
    """
    loose: dict[str, str] = {}
    for name, text in _files_beneath(git_dir, "refs"):
        if not _SHA.fullmatch(text.rstrip(b"\n")):
            return None
        loose[name] = text.decode().rstrip("\n")
    packed = read_small(git_dir / "packed-refs", 16_777_216)
    if packed is None:
        return None if os.path.lexists(git_dir / "packed-refs") else loose
    found: dict[str, str] = {}
    for line in packed.splitlines():
        match = _PACKED.fullmatch(line)
        if match is None and not line.startswith((b"#", b"^")):
            return None
        if match is not None and is_ref_name(name := as_text(match[2])):
            found[name] = match[1].decode()
    return found | loose


def is_ref_name(name: str) -> bool:
    """Whether git takes it as a full name (git-check-ref-format(1)); of UTF-8 alone, which is all that we write."""
    return name.startswith("refs/") and not _ODD_NAME.search(name)


def _is_elsewhere(common: Path) -> bool:
    """Whether refs are kept otherwise than as files: `refs/` and HEAD are then only there for older programs."""
    return os.path.lexists(common / "reftable")


def _asked(common: Path, name: str) -> str | None:
    ran = Git(common).ask("rev-parse", "--verify", "--quiet", "--end-of-options", name, ok=None)
    return ran.text.strip() or None if ran.exit_code == 0 else None


def _loose(common: Path, name: str) -> str | None:
    """What the ref's own file says, empty where there is none; None where only git could tell."""
    path = common / name
    text = read_small(path)
    if text is None:
        return None if os.path.lexists(path) and not is_folder(path) else ""
    return text.decode().rstrip("\n") if _SHA.fullmatch(text.rstrip(b"\n")) else None


def _packed(common: Path, name: str) -> str | None:
    data = _packed_refs(common)
    at = data.find(b" " + os.fsencode(name) + b"\n")
    if at < 0:
        return None
    sha = data[data.rfind(b"\n", 0, at) + 1 : at]
    return sha.decode() if _SHA.fullmatch(sha) else _asked(common, name)


def _packed_refs(common: Path) -> bytes:
    try:
        return (common / "packed-refs").read_bytes()
    except FileNotFoundError:
        return b""


def _read_beneath(common: Path, names: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    loose = [one for name in names for one in _files_beneath(common, name)]
    data = _packed_refs(common)
    prefixes = tuple(os.fsencode(name) + b"/" for name in names)
    if any(prefix in data for prefix in prefixes):
        for line in data.splitlines():
            match = _PACKED.fullmatch(line)
            if match is not None and match[2].startswith(prefixes) and is_ref_name(name := as_text(match[2])):
                found[name] = match[1].decode()
    for name, text in loose:
        if text.startswith(b"ref: refs/"):
            target = find_ref(common, os.fsdecode(text[5:]).rstrip("\n"))
            if target is not None:
                found[name] = target
        elif _SHA.fullmatch(text.rstrip(b"\n")):
            found[name] = text.decode().rstrip("\n")
        else:
            return None
    return found


def _files_beneath(git_dir: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Full name and content of each ref's own file beneath a folder of refs. No link is followed."""
    waiting = [name]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(git_dir / here) as entries:
                found = [(f"{here}/{entry.name}", entry.is_dir(follow_symlinks=False)) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for path, is_dir in found:
            if is_dir:
                waiting.append(path)
            elif is_ref_name(path):
                text = read_small(git_dir / path)
                yield as_text(os.fsencode(path)), b"" if text is None else text
