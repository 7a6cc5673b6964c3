"""`haikud run`: how the daemon is started, and every way in which it cannot be."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from tests.interfaces.conftest import FakeSpool
from tests.support.waiting import wait_until

from haikud.interfaces.commands.run import run
from haikud.interfaces.places import find_spool
from haikud.spool.daemon_lock import daemon_pid


def test_it_makes_the_spool_logs_lines_with_times_and_keeps_the_key_to_itself(spool: FakeSpool, tmp_path: Path):
    new = tmp_path / "new"
    secret = "sk-very-secret"
    environment = {"ANTHROPIC_API_KEY": secret}
    with spool.start("run", "--spool", str(new), more_environment=environment, cwd=tmp_path) as process:
        wait_until((new / "status.json").exists, what="the daemon's picture")
        assert daemon_pid(find_spool(new)) == process.pid
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z \S", line) for line in err.splitlines())
    assert secret not in err
    assert not [path for path in new.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_bad_settings_are_told_before_anything_is_made(spool: FakeSpool, tmp_path: Path):
    (tmp_path / "haikud.yaml").write_text("max_agent: 3\n")
    with spool.start("run", "--spool", str(tmp_path / "new"), cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "haikud.yaml:1: max_agent is no setting; the nearest is max_agents" in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("roles_dir: nowhere\n", "nowhere: the folder of roles cannot be read"),
        ("templates_dir: nowhere\n", "nowhere: cannot be read"),
        (
            "default_role: nobody\n",
            "'nobody', and there is no such role\n  known are claude-code, issue-orchestrator, ",
        ),
    ],
)
def test_roles_that_would_have_every_request_rejected_are_told_first(
    spool: FakeSpool, tmp_path: Path, settings: str, told: str
):
    (tmp_path / "haikud.yaml").write_text(settings)
    with spool.start("run", "--spool", str(tmp_path / "new"), cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert told in err
    assert not (tmp_path / "new").exists()


def test_files_with_secrets_are_read_at_the_start_and_again_when_settings_are_reread(spool: FakeSpool, tmp_path: Path):
    file, config = tmp_path / "secrets.env", tmp_path / "haikud.yaml"
    config.write_text("secrets: {files: [secrets.env]}\n")
    where = ("run", "--spool", str(tmp_path / "new"))
    with spool.start(*where, cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert f"{file}: 'secrets.env' cannot be opened" in err

    file.write_text("first-value-1\n")
    with spool.start(*where, cwd=tmp_path) as process:
        wait_until((tmp_path / "new" / "status.json").exists, what="the daemon's picture")
        for value, settings in (("first-value-1", "max_agents: 3"), ("second-value-2", "max_agents: 4")):
            file.write_text(f"{value}\n")
            config.write_text(f"secrets: {{files: [secrets.env]}}\n{settings}\n")
            process.send_signal(signal.SIGHUP)
            assert process.stderr is not None
            assert any("reread" in line for line in process.stderr), "the settings to be reread"
            (tmp_path / "new" / "incoming" / f"{value}.json").write_text(f'{{"priority": "{value}"}}')
            answer = tmp_path / "new" / "responses" / f"{value}.json"
            wait_until(answer.exists, what=f"the answer {value}")
            assert json.loads(answer.read_bytes())["correlation_id"] == value, "ids stay"
            assert "[masked: from secrets.env]" in answer.read_text()
        process.terminate()
        process.wait(timeout=30)


def test_a_key_file_that_others_can_read_is_refused_and_not_shown(spool: FakeSpool, tmp_path: Path):
    (tmp_path / "haikud.yaml").write_text("api: {key_file: key}\n")
    (tmp_path / "key").write_text("sk-very-secret")
    (tmp_path / "key").chmod(0o644)
    with spool.start("run", "--spool", str(tmp_path / "new"), cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"the key file {tmp_path}/key is open to others" in err
    assert "sk-very-secret" not in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", ['{"format": 99, "spool_id": "x"}', "{"])
def test_a_spool_that_is_not_for_us_is_refused(spool: FakeSpool, tmp_path: Path, content: str):
    spool.layout.format_file.write_text(content)
    with spool.start("run", cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert spool.layout.format_file.read_text() == content


def test_without_a_key_it_says_so(spool: FakeSpool, daemon: int, tmp_path: Path):
    with spool.start("run", cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert "there is no ANTHROPIC_API_KEY" in err


def test_a_second_daemon_says_who_holds_the_spool(spool: FakeSpool, daemon: int, tmp_path: Path):
    with spool.start("run", cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert str(daemon) in err


def test_the_command_documents_its_signals():
    assert "Ctrl-C" in str(run.help)
