"""A sample of the crash walk for every day: one death in each of five stories, at another call each day.

`HAIKUD_WALK_SEED=N` repeats the sample of that number; a failure names the command that repeats its point. The whole
walk is `make crash`.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.crash.kernel import can_trace
from tests.crash.point import run_point
from tests.crash.scenario import SCENARIOS
from tests.crash.walk import replay

SEED = int(os.environ.get("HAIKUD_WALK_SEED") or datetime.now(UTC).toordinal())

SAMPLE = [
    ("plan", "daemon", 230),
    ("plan", "runner p.first.1", 180),
    ("question", "daemon", 120),
    ("cancel", "daemon", 110),
    ("refused", "daemon", 200),
]
"""Who dies in which story, and at which call at the latest: each has a tenth more."""


@pytest.mark.slow
@pytest.mark.skipif(can_trace() is not None, reason=str(can_trace()))
@pytest.mark.parametrize(("story", "who", "most"), SAMPLE)
def test_a_death_at_any_call_changes_nothing_in_the_end(tmp_path: Path, story: str, who: str, most: int):
    number = random.Random(f"{SEED} {story} {who}").randint(1, most)  # noqa: S311 - to be repeated
    point = f"{story}:{who}|@|{number}"
    outcome = run_point(SCENARIOS[story], tmp_path / "house", point.partition(":")[2])
    assert outcome.died is not None, f"seed {SEED}: {point} was not reached"
    assert not outcome.wrong, f"seed {SEED}, at {outcome.died}: {outcome.wrong}; {replay(point)}\n{outcome.said}"
