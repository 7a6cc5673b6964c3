"""What SECURITY.md promises is what the walls say of themselves, and what the attempts here try."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.inside.registry import ATTEMPTS
from tests.hostile.matrix_table import BEGIN, END, table

from haikud.sandbox.matrix import PROTECTIONS

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def test_the_published_matrix_is_the_one_that_is_tried():
    published = SECURITY.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert published == table(), "python -m tests.hostile.matrix_table prints what belongs there"


def test_there_is_an_attempt_for_each_line_of_the_matrix():
    assert {attempt.row for attempt in ATTEMPTS.values()} == set(PROTECTIONS)
