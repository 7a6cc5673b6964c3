"""How a worktree's `.env` differs from the project's example and from the checkout's own: names, never values.

The guide's `diff .env .env.example`. A value never leaves this module, and neither does what only looks like a name: a
line of a key or certificate may well read like `NAME=`. Shown are names that the example states, which is in git for
everyone to see; of other names those of one case (DATABASE_URL, http_proxy), outside quoted texts of several lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from haikud.spool.reading import UntrustedFile, read_untrusted

EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")
MOST_NAMES = 50
_MOST_BYTES = 262_144

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]{0,63})\s*=(.*)$")
_ONE_CASE = re.compile(r"[A-Z_][A-Z0-9_]*|[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class EnvDrift:
    """What was found; all names sorted, at most MOST_NAMES of each kind."""

    example: str | None = None  # the example's file name
    is_there: bool = False  # whether the worktree has a .env
    checkout_has: bool = False  # whether the checkout has one
    missing: list[str] = field(default_factory=list)  # in the example, not in the worktree's .env
    extra: list[str] = field(default_factory=list)  # the other way round
    outdated: list[str] = field(default_factory=list)  # the checkout's .env says something else about them by now


def find_drift(worktree: Path, checkout: Path | None) -> EnvDrift | None:
    """Compare the files; None where the project has neither a .env nor an example of one."""
    example_name, example = None, None
    for name in EXAMPLES:
        example = _read(worktree / name)
        if example is not None:
            example_name = name
            break
    own, original = _read(worktree / ".env"), _read(checkout / ".env") if checkout else None
    if own is None and example is None and original is None:
        return None
    public = frozenset(example or ())
    return EnvDrift(
        example=example_name,
        is_there=own is not None,
        checkout_has=original is not None,
        missing=_shown(public - (own or {}).keys(), public) if example is not None else [],
        extra=_shown(own.keys() - public, public) if example is not None and own is not None else [],
        outdated=_shown(_differing(own, original), public) if own is not None and original is not None else [],
    )


def parse_names(text: str) -> dict[str, str]:
    """Names and values as the usual readers of .env files see them; what is inside a quoted text is no name."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("-----BEGIN"):
            _skip_to(lines, "-----END")
            continue
        match = _LINE.match(line)
        if match is None or stripped.startswith("#"):
            continue
        name, value = match[1], match[2].strip()
        if value[:1] in {'"', "'", "`"} and not _closes(value):
            value += _skip_to(lines, value[0])
        elif value.startswith("-----BEGIN") and "-----END" not in value:
            value += _skip_to(lines, "-----END")
        found[name] = value
    return found


def _closes(value: str) -> bool:
    quote = value[0]
    return re.search(rf"(?<!\\){re.escape(quote)}", value[1:]) is not None


def _skip_to(lines: object, end: str) -> str:
    """The lines up to one that holds `end`, or to the end of the file: nothing in them is a name."""
    skipped = ""
    for line in lines:  # type: ignore[attr-defined]
        skipped += f"\n{line}"
        if end in line:
            break
    return skipped


def _differing(own: Mapping[str, str], original: Mapping[str, str]) -> set[str]:
    return {name for name in own.keys() | original.keys() if own.get(name) != original.get(name)}


def _shown(names: set[str] | frozenset[str], public: frozenset[str]) -> list[str]:
    safe = sorted(name for name in names if name in public or _ONE_CASE.fullmatch(name))
    return safe[:MOST_NAMES]


def _read(path: Path) -> dict[str, str] | None:
    """The file's names and values; None where it is not there, or no plain file of a sensible size."""
    try:
        data = read_untrusted(path, _MOST_BYTES)
    except (UntrustedFile, OSError):
        return None
    return parse_names(data.decode("utf-8", "replace"))
