"""Racing droppers and racing daemons: one request runs, every other one is told, none vanishes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout

ROUNDS = int(os.environ.get("HAIKUD_RACE_ROUNDS", "60"))


def submit(house: House, name: str, document: dict[str, Any]) -> subprocess.Popen[str]:
    path = house.root / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "haikud.interfaces", "submit", str(path), "--wait", "--json", "--timeout", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=house.repository,
        env={**house.base_environment(), "HAIKUD_SPOOL": str(house.spool), "HAIKUD_CONFIG": str(house.config)},
    )


@pytest.mark.parametrize("same", [False, True], ids=["other content", "same content"])
def test_of_two_submitters_with_one_id_each_gets_its_own_answer(house: House, same: bool):
    house.role("worker", 'echo "I ran"', workspace="none")
    house.start()
    house.send(signal.SIGSTOP)  # so that both drop before either is taken
    titles = ("mine", "mine" if same else "yours")
    submitters = [
        submit(house, f"{number}.json", {"task_id": "raced", "title": title, "role": "worker"})
        for number, title in enumerate(titles)
    ]
    wait_until(lambda: len(list((house.spool / "incoming").glob("raced*.json"))) == 2, what="both to be dropped")
    house.send(signal.SIGCONT)
    ended = [(*submitter.communicate(timeout=60), submitter.returncode) for submitter in submitters]
    codes = sorted(code for _, _, code in ended)
    assert codes == ([0, 0] if same else [0, 5]), ended
    if not same:
        (loser,) = [json.loads(said) for said, _, code in ended if code == 5]
        assert loser["status"] == "rejected"
        assert "id already used" in json.dumps(loser)
        assert house.read("responses/raced.rejected.1.json") == loser
    assert house.log("raced").count("I ran") == 1
    answer = house.read("responses/raced.json")
    assert answer is not None
    assert answer["status"] == "success"


REPLACING = """
import json, os, sys
incoming, rounds = sys.argv[1], int(sys.argv[2])
os.chdir(incoming)
def plan(number):
    hidden = f".new{number}"
    with open(hidden, "w") as stream:
        json.dump({"task_id": f"r{number}", "title": "t", "role": "worker"}, stream)
    return hidden
number = 0
while number < rounds or sum(name[0] == "r" for name in os.listdir("../plans")) < 3:  # until some were taken
    os.rename(plan(number), "plan.json")                       # over what may be taken just now
    for away in (lambda: os.rename("plan.json", f".away{number}"), lambda: os.unlink("plan.json")):
        if number % 5 == 3:
            try:
                away()
                print("kept", number, flush=True)
                break
            except FileNotFoundError:
                pass
    number += 1
print("last", number - 1)
"""


def test_producers_that_replace_rename_and_remove_their_files_lose_none_that_was_taken(house: House):
    house.role("worker", "true", workspace="none")
    house.settings = {"max_agents": 1}
    house.start()
    house.drop("control", "all.pause", "")
    incoming = house.spool / "incoming"
    command = [sys.executable, "-c", REPLACING, incoming, str(ROUNDS)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    *kept, (_, final) = (line.split() for line in ran.stdout.splitlines())
    taken_back, last = {int(number) for _, number in kept}, int(final)
    if last not in taken_back:
        wait_until((house.spool / "plans" / f"r{last}").exists, what="the last to be admitted")
    wait_until(lambda: not [path for path in incoming.iterdir() if path.name[:5] != ".away"], what="all to be taken")
    admitted = {int(path.name[1:]) for path in (house.spool / "plans").glob("r*")}
    assert not admitted & taken_back, "what its producer had taken back was run"
    assert house.rejected() == {}
    assert len(admitted) >= 3, "the race was not run"
    said = house.said()
    assert all(said.count(f"admitted r{number}\n") == 1 for number in admitted)


def start_second(house: House, spool: Path) -> subprocess.CompletedProcess[str]:
    return house.haikud("run", "--spool", str(spool))


def test_a_second_daemon_names_the_first_whatever_happened_to_the_lock_file(house: House):
    house.start()
    assert house.process is not None
    pid = str(house.process.pid)
    lock = house.spool / "daemon.lock"
    link = house.root / "another path"
    link.symlink_to(house.spool)
    lock.write_text('{"pid": 1}', encoding="utf-8")
    ways: list[tuple[Path, bool]] = [(house.spool, False), (link, True)]
    for spool, remove in ways:
        if remove:
            lock.unlink(missing_ok=True)
        second = start_second(house, spool)
        assert second.returncode == 1
        assert f"pid {pid} already" in second.stderr, (spool, remove, second.stderr)
    wait_until(lambda: daemon_pid(SpoolLayout(house.spool)) == int(pid), what="the lock file to be mended")
    house.role("worker", "true", workspace="none")
    house.request("served", role="worker")
    assert house.response("served")["status"] == "success"
