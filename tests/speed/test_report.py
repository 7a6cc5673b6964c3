"""What the benchmarks kept becomes tables between markers and plots, and the words around them stay."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from benchmarks import every, report
from benchmarks.goals import GOALS, Goal
from benchmarks.machine import describe

ROOT = Path(__file__).resolve().parents[2]

ROWS = [
    {"what": "nq", "value": 4.3, "unit": "ms", "note": "forgets", "column": "p50"},
    {"what": "nq", "value": 7.0, "unit": "ms", "note": "forgets", "column": "p95"},
    {"what": "haikud, no worktree", "value": 5.5, "unit": "ms", "note": "", "column": "p50"},
    {"what": "haikud, no worktree", "value": 9.0, "unit": "ms", "note": "", "column": "p95"},
    {"what": "haikud, no worktree", "value": 1.4, "unit": "x", "note": "", "column": "p50 to task-spooler's"},
    {"what": "in all", "value": 3.0, "unit": "s", "note": "once"},
]

TEXT = "before\n<!-- figures: dispatch -->\nold\n<!-- end -->\nbetween\n<!-- figures: queued -->\nkept\n<!-- end -->\nafter\n"


def test_tables_are_written_between_their_markers() -> None:
    filled = report.filled(TEXT, {"dispatch": {"name": "dispatch", "note_is": "a kill", "rows": ROWS}})
    assert filled == (
        "before\n<!-- figures: dispatch -->\n"
        "| | p50, ms | p95, ms | p50 to task-spooler's, x | a kill |\n|---|--:|--:|--:|---|\n"
        "| nq | 4.30 | 7 |  | forgets |\n"
        "| haikud, no worktree | 5.50 | 9 | 1.40 |  |\n\n"
        "| | | |\n|---|--:|---|\n| in all | 3 s | once |\n"
        "<!-- end -->\nbetween\n<!-- figures: queued -->\nkept\n<!-- end -->\nafter\n"
    )


def test_a_benchmark_that_failed_says_why_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "queued.failed").write_text("it took\nmore than 240 s\n")
    (tmp_path / "dispatch.json").write_text(json.dumps({"name": "dispatch", "rows": ROWS}))
    kept = report.read_all(tmp_path)
    filled = report.filled(TEXT, kept)
    assert "Not measured in this run: it took more than 240 s\n" in filled
    assert "old" not in filled


def test_goals_say_whether_they_are_reached() -> None:
    lines = report.goals_table({"dispatch": {"rows": ROWS}})
    assert len(lines) == 2 + len(GOALS)
    assert lines[2].endswith("| at most 1.50 x | 1.40 x | reached |")
    assert lines[3].endswith("| not measured |  |")
    assert report.goals_table({"dispatch": {"rows": ROWS}, "machine": {"quick": True}})[2].endswith("| 1.40 x |  |")
    goal = Goal("", "dispatch", "haikud, no worktree", "p50", 5, "ms", "")
    assert not goal.is_reached(5.5)
    assert goal.used(5.5) == pytest.approx(1.1)
    least = Goal("", "dispatch", "haikud, no worktree", "p50", 5, "ms", "", least=True)
    assert least.is_reached(5.5)
    assert least.used(10) == 0.5


def test_plots_are_the_same_bytes_for_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is installed by make bench")
    from benchmarks.plots import draw_all

    kept = {"dispatch": {"rows": ROWS}}
    drawn = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        paths = draw_all(kept, folder)
        assert {path.name for path in paths} == {
            f"performance-{name}.{ending}" for name in ("dispatch", "goals") for ending in ("png", "svg")
        }
        drawn.append([path.read_bytes() for path in paths])
    assert drawn[0] == drawn[1]
    assert all(len(data) < 100_000 for data in drawn[0])


def test_the_document_has_a_place_for_each_benchmark() -> None:
    places = {match[2] for match in report._PLACE.finditer((ROOT / "docs/performance.md").read_text(encoding="utf-8"))}
    assert places == {"machine", "goals"} | {step.module for step in every.STEPS if step.module != "isolation"}


def test_the_machine_is_described_without_its_name() -> None:
    machine = describe()
    assert machine["cores"] > 0
    assert 0 < machine["fsync_ms"] < 10_000
    assert machine["filesystem"] != "unknown"
    assert tempfile.gettempdir() not in json.dumps(machine)


def test_one_that_fails_leaves_its_last_words_and_no_old_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.json").write_text("{}")
    monkeypatch.setattr(sys, "executable", "/bin/sh")  # its -m is an option too
    assert not every.run(every.Step("json"), tmp_path, quick=True)
    assert "it ended with" in (tmp_path / "json.failed").read_text()
    assert not (tmp_path / "json.json").exists()


def test_one_that_takes_too_long_is_interrupted() -> None:
    script = "trap 'echo tidied up >&2; exit 1' INT; while :; do sleep 0.1; done"
    code, words = every.watched(["/bin/sh", "-c", script], 1)
    assert code == 1
    assert words == "tidied up"
