"""The doctor's look at Claude Code: is it there, and is it new enough. Only the role `claude-code` needs it.

Never a fault: nothing else misses it. It is asked for its version alone, which takes no key and no network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from haikud.engine.upkeep.findings import Code, Finding, note, ok

TRIED = (2, 1, 330)
"""The version that the role was tried with. 2.1.197, which npm takes on Node 20 unless told otherwise, has the prices
of claude-haiku-5-5 fifty times too high, and so stops at a fiftieth of the budget."""

HOW_TO_GET_IT = "npm install -g @anthropic-ai/claude-code@latest"

_SECONDS = 10.0


def check_claude(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding."""
    found = shutil.which("claude", path=environ.get("PATH"))
    if found is None:
        why = "claude is not there: tasks of the role claude-code fail, all others do without"
        yield note(Code.CLAUDE, why, cure=f"{HOW_TO_GET_IT} (EBADENGINE is only a warning)")
        return
    version = _version(found, environ)
    if version is None:
        yield note(Code.CLAUDE, "claude does not say its version", found, cure=HOW_TO_GET_IT)
        return
    text = ".".join(str(number) for number in version)
    if version < TRIED:
        tried = ".".join(str(number) for number in TRIED)
        why = f"claude {text} is older than {tried}; old ones have prices wrong, and stop far below the budget"
        yield note(Code.CLAUDE, why, found, cure=f"{HOW_TO_GET_IT} (without @latest, Node 20 gets an old one)")
    else:
        yield ok(Code.CLAUDE, f"claude {text}", found)


def _version(program: str, environ: Mapping[str, str]) -> tuple[int, ...] | None:
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={name: value for name, value in environ.items() if name in {"PATH", "HOME", "LANG"}},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(rb"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(int(number) for number in match.groups()) if match and done.returncode == 0 else None
