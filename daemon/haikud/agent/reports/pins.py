"""Versions that a project asks for, and whether a found one agrees.

Read from .nvmrc, .node-version, .python-version, .tool-versions and package.json's `engines`. What cannot be
understood (`lts/*`, a broken file) is never called wrong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from haikud.spool.reading import UntrustedFile, read_untrusted

_MOST_BYTES = 262_144
_MOST_PINS = 10
_NAMES = {"nodejs": "node", "node": "node", "python": "python", "npm": "npm", "yarn": "yarn", "pnpm": "pnpm"}
_NAMES |= {name: name for name in ("ruby", "php", "deno", "bun", "uv", "cargo", "java", "golang", "rust")}
_VERSION = re.compile(r"v?(\d+)(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+][\w.+-]*)?")
_TERM = re.compile(r"(>=|<=|>|<|=|\^|~>?|==)?\s*(v?\d[\w.*+-]*|[*xX])")


@dataclass(frozen=True)
class Pin:
    """One version that the project asks for."""

    tool: str
    wanted: str
    file: str


def read_pins(worktree: Path) -> list[Pin]:
    """What the project's own files ask for; where two name the same tool, both stand."""
    pins = []
    for name, tool in ((".nvmrc", "node"), (".node-version", "node"), (".python-version", "python")):
        lines = [line.strip() for line in _text(worktree / name).splitlines()]
        wanted = next((line for line in lines if line and not line.startswith("#")), "")
        if wanted:
            pins.append(Pin(tool, wanted[:40], name))
    for line in _text(worktree / ".tool-versions").splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0] in _NAMES:
            pins.append(Pin(_NAMES[words[0]], words[1][:40], ".tool-versions"))
    pins += [Pin(tool, wanted[:40], "package.json engines") for tool, wanted in _engines(worktree).items()]
    return pins[:_MOST_PINS]


def _engines(worktree: Path) -> dict[str, str]:
    try:
        loaded = json.loads(_text(worktree / "package.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    engines = loaded.get("engines") if isinstance(loaded, dict) else None
    if not isinstance(engines, dict):
        return {}
    return {name: text for name, text in engines.items() if name in _NAMES and isinstance(text, str)}


def agrees(wanted: str, found: str) -> bool | None:
    """Whether the found version is one of those asked for; None where that cannot be said (`lts/*`, `system`)."""
    have = _VERSION.match(found.strip())
    if have is None:
        return None
    version = tuple(int(part or 0) if (part or "0").isdigit() else 0 for part in have.groups())
    answers = [_range_holds(part.strip(), version) for part in wanted.split("||")]
    if any(answer is True for answer in answers):
        return True
    return None if None in answers else False


def _range_holds(text: str, have: tuple[int, ...]) -> bool | None:
    """All terms of one range; a bare version is a prefix, as .nvmrc and .python-version mean it."""
    hyphen = re.fullmatch(r"(v?\d[\w.]*)\s+-\s+(v?\d[\w.]*)", text)
    if hyphen is not None:
        text = f">={hyphen[1]} <={hyphen[2]}"
    terms = [match.groups() for match in _TERM.finditer(text)]
    if not terms or _TERM.sub("", text).strip(" ,"):
        return None
    return all(_term_holds(sign or "", version, have) for sign, version in terms)


def _term_holds(sign: str, text: str, have: tuple[int, ...]) -> bool:
    match = _VERSION.fullmatch(text)
    if match is None:
        return text in {"*", "x", "X"}
    given = [int(part) for part in match.groups() if part is not None and part.isdigit()]
    prefix, low = have[: len(given)], (*given, 0, 0)[:3]
    if sign == "^":
        fixed = next((n for n, part in enumerate(given) if part), len(given) - 1) + 1
        return have >= low and list(have[:fixed]) == given[:fixed]
    if sign in {"~", "~>"}:
        fixed = min(len(given), 2)
        return have >= low and list(have[:fixed]) == given[:fixed]
    # A bound with parts left out means the whole of them: <=18 holds for 18.9, >18 does not.
    checks = {
        ">=": have >= low,
        "<": have < low,
        ">": list(prefix) > given,
        "<=": list(prefix) <= given,
    }
    return checks.get(sign, list(prefix) == given)


def _text(path: Path) -> str:
    try:
        return read_untrusted(path, _MOST_BYTES).decode("utf-8", "replace")
    except (UntrustedFile, OSError):
        return ""
