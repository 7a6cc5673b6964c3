"""The table of findings says all of them, and the table of names all that durable writes make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from haikud.engine.upkeep.findings import Code
from haikud.engine.upkeep.repair import CURES
from haikud.spool.durable import temporary_beside
from haikud.spool.legal_names import TABLE, Kind, Standing, stand_of

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"


def test_every_code_has_its_row_and_every_row_a_code():
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(set(named))
    assert set(named) == {str(code) for code in Code}
    assert set(CURES) <= set(Code)


def test_a_durable_write_is_known_by_its_temporary_name_in_every_folder():
    for folder in {row.folder for row in TABLE}:
        name = temporary_beside(Path("response.json")).name
        assert stand_of(folder, name, Kind.FILE)[0] is Standing.TEMPORARY


@pytest.mark.parametrize(
    ("folder", "name", "kind", "standing"),
    [
        ("plans", "task-1", Kind.FOLDER, Standing.LEGAL),
        ("plans", "task-1", Kind.LINK, Standing.UNKNOWN),
        ("plans", ".task-1.new", Kind.FOLDER, Standing.BUILD),
        ("plans", ".task-1.pruned", Kind.FOLDER, Standing.REMOVAL),
        ("incoming", ".taken-0123456789abcdef-a.json", Kind.FILE, Standing.TAKEN),
        ("incoming", ".taken-0123456789abcdef-two\nlines", Kind.FILE, Standing.TAKEN),
        ("incoming", "anything at all", Kind.FOLDER, Standing.LEGAL),
        ("state", "p.t", Kind.LINK, Standing.LEGAL),
        ("state", "p.t.u", Kind.LINK, Standing.UNKNOWN),
        ("responses", "p.rejected.12.json", Kind.FILE, Standing.LEGAL),
        ("responses", "p.rejected.json", Kind.FILE, Standing.LEGAL),  # a task of that name
        ("task", "decision-0001.json.torn-1", Kind.FILE, Standing.LEGAL),
        ("task", "git.damaged-1", Kind.FOLDER, Standing.LEGAL),
        ("responses", ".rejected-0123456789abcdef.json", Kind.FILE, Standing.TAKEN),
        ("task", "core", Kind.FILE, Standing.UNKNOWN),
        ("spool", "queue.json", Kind.FOLDER, Standing.UNKNOWN),
    ],
)
def test_what_a_name_means(folder: str, name: str, kind: Kind, standing: Standing):
    assert stand_of(folder, name, kind)[0] is standing
