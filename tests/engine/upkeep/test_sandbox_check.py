"""What the doctor says of isolation; the tries themselves are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.contracts.settings import SandboxSettings
from haikud.engine.upkeep.findings import Code, Severity
from haikud.engine.upkeep.sandbox_check import check_sandbox
from haikud.sandbox.probe import Probed
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout

REFUSED = ("bwrap: refused",)

SAID = {
    "works": (
        "auto",
        {"auto": Probed("bwrap"), "landlock": Probed("landlock")},
        Severity.OK,
        "landlock would work too",
    ),
    "weaker": ("auto", {"auto": Probed("landlock", REFUSED, ("allow it",))}, Severity.NOTE, "landlock here; bwrap: re"),
    "nothing": ("auto", {"auto": Probed(None, REFUSED, ("allow it",))}, Severity.FAULT, "no task is run"),
    "named": ("bwrap", {"bwrap": Probed(None, REFUSED, ("allow it",))}, Severity.FAULT, "mode bwrap: no task is run"),
    "none": ("none", {"auto": Probed("bwrap")}, Severity.NOTE, "held back by nothing"),
}


@pytest.mark.parametrize("case", SAID)
def test_one_line_with_what_works_and_the_cure(case: str, tmp_path: Path):
    mode, machine, severity, words = SAID[case]
    open_spool(tmp_path / "spool")
    settings = SandboxSettings.model_validate({"mode": mode})
    (found,) = check_sandbox(SpoolLayout(tmp_path / "spool"), settings, lambda wanted, _: machine[wanted])
    assert (found.code, found.severity) == (Code.SANDBOX, severity)
    assert words in found.message
    if case == "none":
        assert "would be bwrap here" in found.cure
    elif severity is not Severity.OK:
        assert found.cure == "allow it"
