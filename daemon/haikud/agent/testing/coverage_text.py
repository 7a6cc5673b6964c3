"""Coverage totals in a program's output: the tables of istanbul (jest, vitest, nyc, c8) and coverage.py, go's line.

Totals of several packages are not put together: without their sizes, an average would be made up.
"""

from __future__ import annotations

import re

_ISTANBUL_ROW = re.compile(r"^All files +\|" + r" +(\d{1,3}(?:\.\d+)?) +\|" * 4)
_ISTANBUL_LINE = re.compile(r"^(Statements|Branches|Functions|Lines) +: (\d{1,3}(?:\.\d+)?)% \(")
_PYTHON_HEAD = re.compile(r"^Name +Stmts +Miss( +Branch +BrPart)? +Cover")
_PYTHON_ROW = re.compile(r"^TOTAL +(\d{1,9}) +(\d{1,9})(?: |$)")
_GO_TOTAL = re.compile(r"^total:\s+\(statements\)\s+(\d{1,3}\.\d+)%$")
_GO_PACKAGE = re.compile(r"^(?:ok|FAIL)[ \t]+[^\s\[]+[ \t]+(?:\d|\(cached\))")
_GO_COVERAGE = re.compile(r"\bcoverage: (\d{1,3}\.\d+)% of statements")
_TARPAULIN = re.compile(r"^(\d{1,3}\.\d+)% coverage, \d+/\d+ lines covered")


def read_coverage(lines: list[str]) -> dict[str, float]:
    """`statements`, `branches`, `functions`, `lines` in percent, as far as they were printed."""
    found: dict[str, float] = {}
    packages = 0
    of_package: float | None = None
    in_python = False
    for line in lines:
        if row := _ISTANBUL_ROW.match(line):
            found |= {name: float(row[n]) for n, name in enumerate(("statements", "branches", "functions", "lines"), 1)}
        elif one := _ISTANBUL_LINE.match(line):
            found[one[1].lower()] = float(one[2])
        elif _PYTHON_HEAD.match(line):
            in_python = True
        elif in_python and (total := _PYTHON_ROW.match(line)):
            found |= _of_python(int(total[1]), int(total[2]))
            in_python = False
        elif whole := _GO_TOTAL.match(line):
            found["statements"] = float(whole[1])
        elif ran := _TARPAULIN.match(line):
            found["lines"] = float(ran[1])
        elif part := _GO_COVERAGE.search(line):
            of_package = float(part[1])
        packages += bool(_GO_PACKAGE.match(line))
    if not found and packages == 1 and of_package is not None:
        found["statements"] = of_package
    return found


def _of_python(statements: int, missed: int) -> dict[str, float]:
    """coverage.py counts statements by line, so both are the same; what its table says of branches is no percentage."""
    percent = round(100 * (statements - missed) / statements, 2) if statements else 100.0
    return {"statements": percent, "lines": percent}
