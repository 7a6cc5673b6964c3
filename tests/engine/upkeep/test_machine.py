"""What the doctor says of the machine."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest
from tests.spool.another_user import needs_root
from tests.support.lived_in import around

from haikud.contracts.settings import Settings
from haikud.engine.upkeep.doctor import repair
from haikud.engine.upkeep.findings import MACHINE, Code, Finding, Severity
from haikud.engine.upkeep.machine import Surroundings, check_machine, check_repositories
from haikud.spool.daemon_lock import hold_daemon_lock
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout


@pytest.fixture
def layout(tmp_path: Path) -> SpoolLayout:
    open_spool(tmp_path / "spool")
    return SpoolLayout(tmp_path / "spool")


def look(layout: SpoolLayout, surroundings: Surroundings | None = None) -> dict[Code, Finding]:
    found = check_machine(layout, surroundings or around())
    assert len({one.code for one in found}) == len(found), "one line for each question"
    return {one.code: one for one in found}


def test_each_question_has_an_answer_and_nothing_is_left_behind(layout: SpoolLayout):
    before = sorted(layout.root.rglob("*"))
    found = look(layout)
    assert set(found) == MACHINE
    assert sorted(layout.root.rglob("*")) == before
    faults = {one.code for one in found.values() if one.severity is Severity.FAULT}
    assert faults == set()
    for code in (Code.GIT, Code.FORMAT, Code.FSYNC, Code.LOCKS, Code.FILESYSTEM, Code.BOOT_ID, Code.DAEMON):
        assert found[code].severity is Severity.OK
    assert all(one.cure for one in found.values() if one.severity is not Severity.OK)


def test_a_key_is_never_shown(layout: SpoolLayout):
    found = look(layout, around(environ={"ANTHROPIC_API_KEY": "sk-ant-very-secret"}))
    assert found[Code.API_KEY].severity is Severity.OK
    assert "secret" not in json.dumps([one.as_json() for one in found.values()])
    assert look(layout)[Code.API_KEY].severity is Severity.NOTE


def test_settings_that_do_not_load_are_said(layout: SpoolLayout):
    found = look(layout, around(settings_faults=["haikud.yaml:3: max_agent is not known"]))
    assert found[Code.SETTINGS].severity is Severity.FAULT
    assert "max_agent" in found[Code.SETTINGS].message


def test_too_little_room_is_a_fault(layout: SpoolLayout):
    found = look(layout, around(settings=Settings.model_validate({"min_free_bytes": 2**60})))
    assert found[Code.FREE_SPACE].severity is Severity.FAULT
    assert "no work is taken" in found[Code.FREE_SPACE].message


def test_too_few_descriptors_are_noted(layout: SpoolLayout):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (90, hard))
    try:
        assert look(layout)[Code.DESCRIPTORS].severity is Severity.NOTE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("content", ["{", '{"format": 99, "spool_id": "x"}'])
def test_a_format_that_is_not_for_us_is_a_fault(layout: SpoolLayout, content: str):
    layout.format_file.write_text(content)
    assert look(layout)[Code.FORMAT].severity is Severity.FAULT


def test_git_that_is_not_there_is_a_fault(layout: SpoolLayout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = look(layout)
    assert found[Code.GIT].severity is Severity.FAULT
    assert "install git" in found[Code.GIT].cure


def test_what_is_open_to_everybody_is_closed(layout: SpoolLayout):
    layout.responses.chmod(0o755)
    found = look(layout)
    assert found[Code.PERMISSIONS].severity is Severity.FAULT
    (mended,) = [one for one in repair(layout, around()) if one.repaired]
    assert mended.code is Code.PERMISSIONS
    assert layout.responses.stat().st_mode & 0o777 == 0o750
    assert look(layout)[Code.PERMISSIONS].severity is Severity.OK


@needs_root
def test_what_is_open_to_a_group_that_nobody_named_is_closed(layout: SpoolLayout):
    os.chown(layout.control, -1, 47110)
    layout.control.chmod(0o770)
    assert "the group 47110" in look(layout)[Code.PERMISSIONS].message
    repair(layout, around())
    assert layout.control.stat().st_mode & 0o777 == 0o700
    assert look(layout)[Code.PERMISSIONS].severity is Severity.OK


def test_where_others_drop_the_doctor_asks_for_a_list_of_repositories(layout: SpoolLayout):
    assert look(layout)[Code.REPOSITORIES].severity is Severity.OK
    for given, severity in (
        ({"allowed_uids": [4711]}, Severity.NOTE),
        ({"allowed_uids": [4711], "repositories": ["/srv"]}, Severity.OK),
    ):
        (found,) = check_repositories(Settings.model_validate(given))
        assert (found.code, found.severity) == (Code.REPOSITORIES, severity)


def test_who_serves_the_spool_is_said(layout: SpoolLayout):
    assert "no daemon runs" in look(layout)[Code.DAEMON].message
    with hold_daemon_lock(layout):
        assert "the daemon with pid" in look(layout)[Code.DAEMON].message
