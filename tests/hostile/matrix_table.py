"""The table in SECURITY.md: what each mode holds, and how many of the attempts here try it.

`python -m tests.hostile.matrix_table` prints it, to be put between the two marks there.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.hostile.inside.driver import load
from tests.hostile.inside.registry import ATTEMPTS

from haikud.sandbox.matrix import PROTECTIONS, holds

BEGIN, END = "<!-- matrix: see tests/hostile/matrix_table.py -->", "<!-- end of the matrix -->"

LINUX_OF_ABI = {1: "5.13", 2: "5.19", 3: "6.2", 4: "6.7", 5: "6.10", 6: "6.12", 7: "6.15"}
"""Which Linux brought which version of Landlock."""


def table() -> str:
    """As Markdown."""
    load()
    tried = Counter(attempt.row for attempt in ATTEMPTS.values())
    lines = [
        f"| What an agent's command might do ({len(ATTEMPTS)} attempts) | bwrap | landlock | none | tried |",
        "|---|---|---|---|---|",
    ]
    for name, text in PROTECTIONS.items():
        bwrap, none = (_word(holds(mode)[name]) for mode in ("bwrap", "none"))
        lines.append(f"| {text} | {bwrap} | {_with_landlock(name)} | {none} | {tried[name]} |")
    return "\n".join(lines)


def _word(held: bool) -> str:
    return "held" if held else "**not held**"


def _with_landlock(name: str) -> str:
    held = [abi for abi in LINUX_OF_ABI if holds("landlock", abi)[name]]
    if held and min(held) > 1:
        return f"held, from Linux {LINUX_OF_ABI[min(held)]} on"
    return _word(bool(held))


if __name__ == "__main__":
    sys.stdout.write(f"{BEGIN}\n\n{table()}\n\n{END}\n")
