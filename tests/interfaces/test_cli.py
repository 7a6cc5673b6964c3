"""The front door: laziness, help, and every way in which a command cannot begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.interfaces.conftest import FakeSpool, on_terminal, plain_environment

from haikud import __version__
from haikud.interfaces.cli import COMMANDS, haikud_command


def haikud(*args: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "haikud.interfaces", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=plain_environment(**more),
        timeout=60,
        check=False,
    )


def test_the_version_is_the_packages(tmp_path: Path):
    done = haikud("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"haikud {__version__}\n")


def test_help_lists_every_command_and_imports_none(tmp_path: Path):
    done = haikud("--help", cwd=tmp_path)
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str):
    done = CliRunner().invoke(haikud_command, [name, "--help"])
    assert done.exit_code == 0
    assert f"Usage: haikud {name}" in done.output


def test_a_misspelt_command_is_told_the_nearest(tmp_path: Path):
    done = haikud("statsu", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean `haikud status`?" in done.stderr


def test_the_spool_before_the_command_is_told_its_place(tmp_path: Path):
    done = haikud("--spool", "x", "status", cwd=tmp_path)
    assert done.returncode == 2
    assert "haikud COMMAND --spool DIR" in done.stderr
    assert "'--spol'" in haikud("--spol", "x", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    "args", [["status"], ["wait", "x"], ["logs", "x"], ["answer", "x", "y"], ["cancel", "x"], ["stop"]]
)
def test_without_a_spool_a_command_says_what_to_do(tmp_path: Path, args: list[str]):
    done = haikud(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert f"the spool {tmp_path / 'spool'} does not exist" in done.stderr
    assert f"haikud run --spool {tmp_path / 'spool'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_spool_is_the_options_then_the_variables_then_the_folder(tmp_path: Path):
    for name in ("a", "b", "spool"):
        FakeSpool(tmp_path / name)
    assert f" {tmp_path}/a;" in haikud("status", "--spool", "a", cwd=tmp_path, HAIKUD_SPOOL="b").stdout
    assert f" {tmp_path}/b;" in haikud("status", cwd=tmp_path, HAIKUD_SPOOL="b").stdout
    assert f" {tmp_path}/spool;" in haikud("status", cwd=tmp_path).stdout


def test_a_spool_of_a_newer_format_is_not_touched(spool: FakeSpool):
    spool.write(spool.layout.format_file, {"format": 2, "spool_id": "x"})
    done = spool.run("status")
    assert done.exit_code == 2
    assert "format 2" in done.output


def test_a_reader_that_has_had_enough_gets_no_complaint(spool: FakeSpool):
    spool.admit("big", "succeeded")
    spool.log("big", "line\n" * 200_000)
    with spool.start("logs", "big") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141


def test_status_imports_neither_pydantic_nor_rich_nor_the_engine(spool: FakeSpool):
    spool.admit("one", "running")
    code = (
        "import sys\nfrom haikud.interfaces.cli import haikud_command\n"
        "haikud_command.main(['status'], standalone_mode=False)\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('pydantic', 'rich', 'anthropic', 'yaml', 'psutil', 'sh')]\n"
        "bad += [m for m in sys.modules if m.startswith(('haikud.engine', 'haikud.agent'))]\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=plain_environment(HAIKUD_SPOOL=str(spool.root)),
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_on_a_terminal_there_are_colours_and_nothing_that_a_request_could_slip_in(spool: FakeSpool, daemon: int):
    title = "red \x1b[31m bell \x07 and \x9b2J"
    spool.live({"ref": "one", "plan": "one", "title": title, "state": "running", "cost_usd": 0.02}, pid=daemon)
    code, shown = on_terminal(spool, "status")
    assert code == 0
    assert "\x1b[36mRunning" in shown
    assert r"red \x1b[31m bell \x07 and \x9b2J" in shown
    assert "$0.020 so far" in shown
