"""haikud doctor, as people and programs see it."""

from __future__ import annotations

import json

import pytest
from tests.interfaces.conftest import FakeSpool


def test_a_spool_in_order_is_said_to_be_so(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    done = spool.run("doctor")
    assert done.exit_code == 0, done.stdout
    assert done.stdout.startswith("machine:\n  ok     settings: the settings load\n")
    assert "spool:" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("ok: 0 faults, ")
    assert "secret" not in done.stdout


def test_a_fault_has_its_cure_and_is_mended(spool: FakeSpool):
    spool.admit("plan-1", "queued")
    link = spool.layout.link("queued", "plan-1")
    link.unlink()
    done = spool.run("doctor")
    assert done.exit_code == 1
    assert "  fault  link_missing: plan-1: the task is queued and has no link (tasks/queued/plan-1)\n" in done.stdout
    assert "         -> no daemon finds the task like this: " in done.stdout

    (found,) = [one for one in json.loads(spool.run("doctor", "--json").stdout) if one["severity"] == "fault"]
    assert found["code"] == "link_missing"
    assert found["path"] == str(link)
    assert found["ref"] == "plan-1"
    assert not found["repaired"]
    assert set(found) == {"code", "severity", "path", "ref", "message", "cure", "repaired"}

    done = spool.run("doctor", "--repair")
    assert done.exit_code == 0
    assert "mended:\n  mended link_missing: plan-1: moved to queued (tasks/queued/plan-1)\n" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 1 mended")
    assert link.is_symlink()


def test_nothing_is_mended_beside_a_daemon(spool: FakeSpool, daemon: int):
    done = spool.run("doctor", "--repair")
    assert done.exit_code == 2
    assert f"a daemon (pid {daemon}) serves" in done.stderr
    assert "haikud stop --wait" in done.stderr


def test_settings_that_do_not_load_are_a_fault_and_not_the_end(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HAIKUD_MAX_AGENTS", "none")
    done = spool.run("doctor")
    assert done.exit_code == 1
    assert "fault  settings: " in done.stdout
