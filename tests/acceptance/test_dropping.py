"""Every way in which people drop a file: admitted once and whole, answered, its log there to follow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

WORK = 'echo "working on $TASK_ID"; echo "def sub(a, b): return a - b" >> calc.py; git commit -qam "Add sub"'

PLAN_YAML = """\
task_plan:
  id: slow
  tasks:
    - id: first
      title: First
      role: worker
"""
MORE_YAML = """\
    - id: second
      title: Second
      role: worker
"""


def plan(task_id: str) -> str:
    return json.dumps({"task_id": task_id, "title": "Add sub", "role": "worker", "files": ["calc.py"]})


def by_cat(incoming: Path, source: Path, name: str) -> None:
    subprocess.run(f"cat '{source}' > '{incoming}/{name}'", shell=True, check=True)


def by_cp(incoming: Path, source: Path, name: str) -> None:
    subprocess.run(["cp", source, incoming / name], check=True)


def by_mv(incoming: Path, source: Path, name: str) -> None:
    subprocess.run(["mv", source, incoming / name], check=True)


def by_mv_from_another_filesystem(incoming: Path, source: Path, name: str) -> None:
    elsewhere = Path("/dev/shm") / f"{os.getpid()}-{name}"
    shutil.copy(source, elsewhere)
    subprocess.run(["mv", elsewhere, incoming / name], check=True)


def by_ln(incoming: Path, source: Path, name: str) -> None:
    subprocess.run(["ln", source, incoming / name], check=True)


def by_tee(incoming: Path, source: Path, name: str) -> None:
    subprocess.run(["tee", incoming / name], input=source.read_bytes(), stdout=subprocess.DEVNULL, check=True)


def by_an_editor(incoming: Path, source: Path, name: str) -> None:
    """Write as vim and emacs do: a swap file, a backup, then a rename over the name."""
    (incoming / f".{name}.swp").write_bytes(b"\0" * 4096)
    (incoming / f"{name}~").write_bytes(source.read_bytes()[:10])
    new = incoming / f"{name}.tmp"
    new.write_bytes(source.read_bytes())
    new.rename(incoming / name)
    (incoming / f".{name}.swp").unlink()
    (incoming / f"{name}~").unlink()


def by_linking_an_unnamed_file(incoming: Path, source: Path, name: str) -> None:
    fd = os.open(incoming, os.O_WRONLY | os.O_TMPFILE, 0o600)
    os.write(fd, source.read_bytes())
    root = os.open("/", os.O_RDONLY)
    os.link(f"/proc/self/fd/{fd}", incoming / name, src_dir_fd=root, follow_symlinks=True)
    os.close(root)
    os.close(fd)


WAYS: list[Callable[[Path, Path, str], None]] = [
    by_cat,
    by_cp,
    by_mv,
    by_mv_from_another_filesystem,
    by_ln,
    by_tee,
    by_an_editor,
    by_linking_an_unnamed_file,
]


@pytest.mark.parametrize("watcher", ["inotify", "polling"])
def test_every_way_of_dropping_a_file_admits_it_once_and_whole(house: House, tmp_path: Path, watcher: str):
    house.settings = {"watcher": watcher, "poll_seconds": 0.2}
    house.role("worker", WORK)
    house.start()
    for number, way in enumerate(WAYS):
        source = tmp_path / f"source-{number}.json"
        source.write_text(plan(f"way-{number}"), encoding="utf-8")
        way(house.spool / "incoming", source, f"dropped-{number}.json")
    for number in range(len(WAYS)):
        response = house.response(f"way-{number}")
        assert response["status"] == "success", response
        assert response["payload"]["files_changed"] == ["calc.py"]
        assert house.log(f"way-{number}").count(f"working on way-{number}") == 1
    assert list((house.spool / "incoming").iterdir()) == []
    assert len(list((house.spool / "plans").glob("way-*"))) == len(WAYS)
    assert house.rejected() == {}


def test_a_slow_writer_that_pauses_where_the_yaml_would_parse_is_waited_for(house: House):
    house.role("worker", "true")
    house.start()
    path = house.spool / "incoming" / "slow.yaml"
    with path.open("w", encoding="utf-8") as writer:
        writer.write(PLAN_YAML)
        writer.flush()
        house.request("after", role="worker")
        house.response("after")  # the daemon has looked at the folder meanwhile
        assert path.exists()
        assert not (house.spool / "plans" / "slow").exists()
        writer.write(MORE_YAML)
    response = house.response("slow")
    assert [task["task_id"] for task in response["payload"]["tasks"]] == ["first", "second"]


def test_tail_started_as_soon_as_the_plan_is_in_shows_all_attempts(house: House):
    house.role("stumbler", 'echo "this is attempt $HAIKUD_ATTEMPT"; [ "$HAIKUD_ATTEMPT" = 3 ] || exit 75')
    house.start()
    house.request("tailed", role="stumbler")
    wait_until((house.spool / "logs/agent-tailed.log").exists, what="the log's link")
    with subprocess.Popen(
        ["tail", "-n", "+1", "-f", house.spool / "logs/agent-tailed.log"], stdout=subprocess.PIPE, text=True
    ) as tail:
        seen: list[str] = []
        assert tail.stdout is not None
        reader = threading.Thread(target=lambda: seen.extend(iter(tail.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        assert house.response("tailed")["status"] == "success"
        wait_until(lambda: any("this is attempt 3" in line for line in seen), what="the third attempt in tail")
        tail.terminate()
        reader.join()
    for number in (1, 2, 3):
        assert seen.count(f"agent | this is attempt {number}\n") == 1
