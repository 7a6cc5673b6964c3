"""`haikud install-service` and `uninstall-service`, with programs of the tests' own in systemd's place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haikud.interfaces.commands import service
from haikud.interfaces.commands.service import install_service, uninstall_service
from haikud.interfaces.service.unit_files import our_command, standing, system_files, user_files

UNIT = "home/.config/systemd/user/haikud.service"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a PATH on which systemctl and loginctl write down how they are called."""
    bin_folder, log = tmp_path / "bin", tmp_path / "calls"
    bin_folder.mkdir()
    for name in ("systemctl", "loginctl", "haikud"):
        program = bin_folder / name
        program.write_text(
            f'#!/bin/sh\necho {name} "$@" >> {log}\n[ ! -e {tmp_path}/refuse-{name} ] || {{ echo no >&2; exit 1; }}\n'
        )
        program.chmod(0o755)
    log.touch()
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(service.sys, "argv", ["haikud"])
    return log


def call(command, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(command, [*arguments])
    assert result.exit_code == code, result.output
    return result


def test_a_user_service_is_placed_once_and_told_how_to_use(calls: Path, tmp_path: Path):
    said = call(install_service, "--user").output
    unit = (tmp_path / UNIT).read_text()
    assert f"\nExecStart={tmp_path}/bin/haikud run --spool %h/haikud/spool\n" in unit
    assert re.fullmatch(r"loginctl enable-linger \S+\nsystemctl --user daemon-reload\n", calls.read_text())
    for word in (
        "systemctl --user enable --now haikud",
        "journalctl --user -u haikud -f",
        "systemctl --user stop haikud",
    ):
        assert word in said
    assert (tmp_path / "home/.config/haikud").stat().st_mode & 0o777 == 0o700
    assert f"{tmp_path / UNIT} is there already" in call(install_service, "--user").output


def test_a_dry_run_changes_and_runs_nothing(calls: Path, tmp_path: Path):
    said = call(install_service, "--user", "--dry-run").output
    assert f"would have placed {tmp_path / UNIT}" in said
    assert "would run loginctl enable-linger" in said
    assert not (tmp_path / "home").exists()
    call(install_service, "--user")
    calls.write_text("")
    assert "would have removed" in call(uninstall_service, "--user", "--dry-run").output
    assert (tmp_path / UNIT).exists()
    assert calls.read_text() == ""


def test_lingering_that_is_refused_is_told_with_what_it_means(calls: Path, tmp_path: Path):
    (tmp_path / "refuse-loginctl").touch()
    said = call(install_service, "--user").output
    assert "loginctl enable-linger" in said
    assert "without lingering your logout ends the service and all agents: sudo loginctl enable-linger" in said
    assert (tmp_path / UNIT).exists()


def test_what_somebody_changed_is_neither_replaced_nor_removed(calls: Path, tmp_path: Path):
    call(install_service, "--user")
    unit = tmp_path / UNIT
    unit.write_text(unit.read_text() + "Nice=5\n")
    changed = unit.read_text()
    assert "was changed since it was placed: nothing was done" in call(install_service, "--user", code=2).output
    assert "somebody has changed it" in call(uninstall_service, "--user").output
    unit.write_text("[Service]\n")
    assert "is not from here" in call(install_service, "--user", code=2).output
    assert changed != unit.read_text() == "[Service]\n"


def test_an_upgrade_replaces_what_it_had_placed(calls: Path, tmp_path: Path):
    call(install_service, "--user")
    assert f"replaced {tmp_path / UNIT}" in call(install_service, "--user", "--spool", str(tmp_path / "a b%$c")).output
    assert f'--spool "{tmp_path}/a b%%$$c"\n' in (tmp_path / UNIT).read_text()


def test_removing_stops_the_daemon_first_and_leaves_spool_and_settings(calls: Path, tmp_path: Path):
    call(install_service, "--user")
    kept = [tmp_path / "home/haikud/spool/FORMAT", tmp_path / "home/.config/haikud/environment"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    calls.write_text("")
    call(uninstall_service, "--user")
    assert calls.read_text().splitlines() == [
        "systemctl --user disable --now haikud.service",
        "systemctl --user daemon-reload",
    ]
    assert not (tmp_path / UNIT).exists()
    assert all(path.exists() for path in kept)
    assert "nothing of install-service is there" in call(uninstall_service, "--user").output


def test_a_system_service_wants_root_and_a_haikud_that_it_can_see(calls: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service.os, "geteuid", lambda: 1000)
    assert "use sudo, or --user" in call(install_service, code=2).output
    monkeypatch.setattr(service.os, "geteuid", lambda: 0)
    monkeypatch.setattr("haikud.interfaces.service.unit_files.our_command", lambda *_: ["/home/me/bin/haikud"])
    assert "lies in a home folder, which the system service does not see" in call(install_service, code=2).output
    assert "--spool goes with --user" in call(install_service, "--spool", "x", code=2).output


def test_every_file_placed_knows_itself_and_names_the_command(tmp_path: Path):
    files = [
        *system_files(["/opt/haikud/bin/haikud"], tmp_path),
        *user_files(["/a b/python", "-m", "x"], tmp_path, None),
    ]
    for file in files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        assert standing(file.path) == "free"
        file.path.write_text(file.text)
        assert standing(file.path) == "ours"
    assert "\nExecStart=/opt/haikud/bin/haikud run --spool %S/haikud/spool\n" in files[2].text
    assert '\nExecStart="/a b/python" -m x run --spool %h/haikud/spool\n' in files[3].text


def test_it_is_called_again_by_the_name_it_was_called_by(calls: Path, tmp_path: Path):
    link = tmp_path / "bin/link/haikud"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "bin/haikud")
    assert our_command(str(link), {"PATH": ""}) == [str(link)]
    assert our_command("/x/pytest", {"PATH": ""})[0].startswith("/")
