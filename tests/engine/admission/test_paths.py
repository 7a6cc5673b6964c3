"""Paths in a plan."""

from __future__ import annotations

import pytest

from haikud.engine.admission.fields import Notes, Stated
from haikud.engine.admission.paths import checked_path


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("a.py", "a.py"),
        ("./src//a b.py", "src/a b.py"),
        ("src/", "src/"),
        (".gitignore", ".gitignore"),
        (".github/x.yml", ".github/x.yml"),
        ("a/-x", "a/-x"),
        ("a..b/..c", "a..b/..c"),
        ("ünï/コード.ts", "ünï/コード.ts"),
    ],
)
def test_good_paths(stated: str, kept: str):
    notes = Notes()
    assert checked_path(Stated(stated, "/files/0"), notes) == kept
    assert notes.faults == []


@pytest.mark.parametrize(
    "stated",
    [
        "",
        ".",
        "/",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "~/x",
        "-x",
        "./-x",
        "a\nb",
        "a\x1bb",
        ".git",
        ".git/hooks/x",
        "a/.GIT/x",
        "C:\\x",
        "x" * 256,
        "x/" * 3000,
    ],
)
def test_paths_that_lead_elsewhere(stated: str):
    notes = Notes()
    assert checked_path(Stated(stated, "/files/0"), notes) is None
    assert [(fault.code, fault.field) for fault in notes.faults] == [("BAD_PATH", "/files/0")]
    assert notes.faults[0].fix
