"""Long output: head and tail for the model, the whole in a file that it can read, and nothing written elsewhere."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from haikud.agent.events import EventLog
from haikud.agent.haiku.tools.bash import Shell
from haikud.agent.haiku.tools.overflow import FullOutputs, HeadAndTail, Output
from haikud.agent.haiku.tools.registry import Toolbox
from haikud.contracts.settings import LimitSettings
from haikud.sandbox.isolation import NO_SANDBOX
from haikud.spool.agent_log import AgentLog


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, out: Path) -> Iterator[Shell]:
    log = AgentLog(tmp_path / "agent.log")
    yield Shell(
        worktree=tmp_path,
        environment={"PATH": "/usr/bin:/bin", "HAIKUD_OUT": str(out), "HOME": str(tmp_path)},
        limits=LimitSettings.model_validate({"tool_output_bytes": 1024}),
        sandbox=NO_SANDBOX,
        log=log,
        events=EventLog(tmp_path / "events.jsonl"),
        stop=threading.Event().is_set,
    )
    log.close()


def said(files: FullOutputs | None, data: bytes, most: int = 100, piece: int = 30) -> str:
    with Output(most, files) as output:
        for start in range(0, len(data), piece):
            output.add(data[start : start + piece])
    return output.text()


@pytest.mark.parametrize("piece", [1, 3, 7, 50, 1000])
def test_head_and_tail_are_exact_however_the_output_comes(piece: int):
    data = "".join(f"{n:4}\n" for n in range(200)).encode()
    kept = HeadAndTail(100)
    for start in range(0, len(data), piece):
        kept.add(data[start : start + piece])
    note = f"[... {len(data) - 100} bytes left out here, lines 11 to 191 ...]"
    assert kept.text() == f"{data[:50].decode()}\n{note}\n{data[-50:].decode()}"


def test_short_output_is_kept_whole_and_in_no_file(out: Path):
    assert said(FullOutputs(out, 1000), b"x" * 60 + b"y" * 40) == "x" * 60 + "y" * 40
    assert list(out.iterdir()) == []


def test_the_model_can_read_on_where_the_output_was_cut_and_nothing_stays(shell: Shell, out: Path):
    toolbox = Toolbox(["bash"], shell)

    def run(command: str) -> str:
        return toolbox.use({"name": "bash", "input": {"command": command}}).text

    text = run("seq 1 100000; exit 3")
    assert text.startswith("1\n2\n3\n")
    assert text.endswith("99999\n100000\n[exit code 3]")
    found = re.search(r"lines (\d+) to (\d+); all of it is in (\S+): see more with grep -n or sed -n", text)
    assert found is not None
    first, last, path = found.groups()
    assert run(f"sed -n '{first},+2p' {path}") == "\n".join(str(int(first) + more) for more in range(3))
    assert run(f"grep -n '^{int(last) - 1}$' {path}") == f"{int(last) - 1}:{int(last) - 1}"
    assert len(text) < 1400
    toolbox.close()
    assert [path.name for path in out.iterdir() if path.name != ".cwd"] == []


def test_all_files_together_stay_within_their_bound_and_the_oldest_go_first(out: Path):
    files = FullOutputs(out, 1000)
    for letter in "abc":
        said(files, letter.encode() * 400)
    assert sorted(path.name for path in (out / "outputs").iterdir()) == ["2.txt", "3.txt"]
    text = said(files, b"d" * 5000)
    assert "the first 1000 bytes are in" in text
    assert [(path.name, path.stat().st_size) for path in (out / "outputs").iterdir()] == [("4.txt", 1000)]


def test_nothing_is_written_through_what_an_agent_puts_there(tmp_path: Path, out: Path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (out / "outputs").symlink_to(victim)
    assert "the whole could not be kept" in said(FullOutputs(out, 9999), b"x" * 999)
    assert list(victim.iterdir()) == []
    (out / "outputs").unlink()
    (out / "outputs").mkdir()
    (victim / "file").write_text("mine")
    (out / "outputs" / "1.txt").symlink_to(victim / "file")
    files = FullOutputs(out, 9999)
    assert "outputs/2.txt" in said(files, b"x" * 999)
    assert (victim / "file").read_text() == "mine"
    files.close()
    assert (victim / "file").read_text() == "mine"


def test_where_no_file_can_be_made_the_result_says_why(tmp_path: Path):
    assert "could not be kept: No such file or directory" in said(FullOutputs(tmp_path / "gone", 9999), b"x" * 999)


def test_without_files_output_is_cut_as_ever(shell: Shell, out: Path):
    assert said(None, b"x" * 999) == f"{'x' * 50}\n[... 899 bytes left out here ...]\n{'x' * 50}"
    limits = shell.limits.model_copy(update={"full_output_bytes": 0})
    text = Toolbox(["bash"], replace(shell, limits=limits)).use({"name": "bash", "input": {"command": "seq 9999"}}).text
    assert "all of it" not in text
    assert "bytes left out here, lines" in text
    assert not (out / "outputs").exists()
