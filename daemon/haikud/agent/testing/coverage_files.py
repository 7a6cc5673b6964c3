"""Coverage totals in report files: Cobertura and Clover XML, istanbul's and coverage.py's JSON, LCOV.

The files are untrusted. XML is read by expat, which keeps no tree and fetches nothing; a document type is let pass
(Cobertura's has one), but not one that declares entities. Sizes are
the caller's business. What is no coverage report gives nothing; what is broken raises BadReport.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from xml.parsers import expat

from haikud.agent.testing.facts import COVERAGE_NAMES
from haikud.agent.testing.junit import BadReport


def read_coverage_file(name: str, data: bytes) -> dict[str, float]:
    """`statements`, `branches`, `functions`, `lines` in percent, as far as the file has them."""
    if name.endswith(".json"):
        return _of_json(data)
    if name.endswith(".info"):
        return _of_lcov(data)
    return _of_xml(data) if name.endswith(".xml") else {}


def _of_json(data: bytes) -> dict[str, float]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"no JSON: {error}") from error
    if not isinstance(document, dict):
        return {}
    total, totals = document.get("total"), document.get("totals")
    if isinstance(total, dict):  # istanbul's coverage-summary.json
        parts = {name: part.get("pct") for name in COVERAGE_NAMES if isinstance(part := total.get(name), dict)}
        return _percents(parts)
    if isinstance(totals, dict):  # coverage.py's
        lines = _share(totals.get("covered_lines"), totals.get("num_statements"))
        return _percents(
            {
                "statements": lines,
                "lines": lines,
                "branches": _share(totals.get("covered_branches"), totals.get("num_branches")),
            }
        )
    return {}


def _of_lcov(data: bytes) -> dict[str, float]:
    sums: dict[str, int] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        key, _, number = line.partition(":")
        if key in {"LF", "LH", "BRF", "BRH", "FNF", "FNH"} and number.strip().isdecimal() and len(number) < 12:
            sums[key] = sums.get(key, 0) + int(number)
    pairs = {"lines": ("LH", "LF"), "branches": ("BRH", "BRF"), "functions": ("FNH", "FNF")}
    return _percents({name: _share(sums.get(hit), sums.get(found)) for name, (hit, found) in pairs.items()})


def _of_xml(data: bytes) -> dict[str, float]:
    seen: list[tuple[str, dict[str, str]]] = []
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise BadReport("its document type declares entities, which haikud does not read")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag in {"coverage", "metrics"} and len(seen) < 2:
            seen.append((tag, attributes))

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an encoding it states
        raise BadReport(f"no XML: {error}") from error
    if not seen or seen[0][0] != "coverage":
        return {}
    root = seen[0][1]
    if "line-rate" in root:  # Cobertura
        rates = {"lines": root.get("line-rate"), "branches": root.get("branch-rate")}
        if root.get("branches-valid") == "0":
            del rates["branches"]
        return _percents({name: 100 * rate for name, text in rates.items() if (rate := _number(text)) is not None})
    if len(seen) == 2:  # Clover: the project's metrics
        metrics = {name: _number(text) for name, text in seen[1][1].items()}
        return _percents(
            {
                "statements": _share(metrics.get("coveredstatements"), metrics.get("statements")),
                "branches": _share(metrics.get("coveredconditionals"), metrics.get("conditionals")),
                "functions": _share(metrics.get("coveredmethods"), metrics.get("methods")),
            }
        )
    return {}


def _share(part: object, whole: object) -> float | None:
    first, second = _number(part), _number(whole)
    return 100 * first / second if first is not None and second else None


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _percents(parts: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: _number(part) for name, part in parts.items()}
    return {name: round(number, 2) for name, number in numbers.items() if number is not None and 0 <= number <= 100}
