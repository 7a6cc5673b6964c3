"""The benchmarks of dispatch and bursts work: tiny ones, for their machinery and not for figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import burst, dispatch
from benchmarks.contender_haikud import Haikud
from benchmarks.contenders import Contender, Loop, Nq, Spawn, TaskSpooler
from benchmarks.figures import Row, cpu_seconds, finish, percentile, plain, ready_house, table
from benchmarks.stamp import Stamp


@pytest.fixture
def stamp(tmp_path: Path) -> Iterator[Stamp]:
    made = Stamp(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("kind", [Spawn, Loop, TaskSpooler, Nq])
def test_each_contender_starts_the_program_once_for_each_drop(
    kind: type[Contender], tmp_path: Path, stamp: Stamp
) -> None:
    if why := kind.missing():
        pytest.skip(why)
    one = kind(tmp_path / "one", stamp)
    one.start()
    try:
        taken = dispatch.measure([one], 1)
        assert 0 < taken[one.name][0] < 60_000, "milliseconds between the call and the first instruction"
        turn = burst.burst(one, 3)
        assert turn.plans == 3
        assert 0 <= turn.cpu < 30, "a live process tells its time in hundredths of a second"
    finally:
        one.close()


def test_haikud_answers_each_plan_of_a_burst_in_its_first_attempt(tmp_path: Path, stamp: Stamp) -> None:
    house = ready_house(tmp_path / "house", {"max_agents": 2, "launcher": "subprocess"})
    one = Haikud(tmp_path / "none", stamp, house)
    try:
        one.start()
        turn = burst.burst(one, 1)
        assert turn.seconds > 0
        attempt = house.spool / "plans" / one.dropped[-1] / one.dropped[-1] / "attempt-2"
        attempt.mkdir()
        with pytest.raises(AssertionError, match="attempt-2"):
            burst.look_at(one, one.dropped[-1:])
        one.close()
    finally:
        house.close()


def test_a_program_too_many_is_no_figure(tmp_path: Path, stamp: Stamp) -> None:
    class Twice(Spawn):
        def drop_many(self, number: int) -> None:
            super().drop_many(number + 1)

    with pytest.raises(AssertionError, match="3 programs were started for 2"):
        burst.burst(Twice(tmp_path / "twice", stamp), 2)


def test_processor_time_of_ended_processes_counts(tmp_path: Path, stamp: Stamp) -> None:
    before = cpu_seconds()
    one = Spawn(tmp_path / "one", stamp)
    one.stamp.argv = ["/bin/sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]
    one.drop()
    one.settled()
    assert cpu_seconds() - before > 0.01


def test_rows_are_kept_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("nq", 4.3, "ms", column="p50"),
        Row("nq", 1.16, "x", column="ratio"),
        Row("memory", 75.04, "MB", "once"),
    ]
    finish("made-up", rows, tmp_path / "kept.json", turns=3)
    kept = json.loads((tmp_path / "kept.json").read_bytes())
    assert kept["name"] == "made-up"
    assert kept["turns"] == 3
    assert kept["rows"][2] == {"what": "memory", "value": 75.04, "unit": "MB", "note": "once", "column": ""}
    assert capsys.readouterr().out.splitlines() == table(rows)
    assert [line.split() for line in table(rows)][1:] == [["nq", "4.30", "1.16"], ["memory:", "75.0", "MB", "(once)"]]


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7
    assert [plain(value) for value in (0.1234, 1.234, 12.34, 1234.5, 3.0, 0.0)] == [
        "0.123", "1.23", "12.3", "1,234", "3", "0",
    ]  # fmt: skip
