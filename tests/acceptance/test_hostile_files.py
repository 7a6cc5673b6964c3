"""Hostile files: whatever lies in a drop folder is answered or set aside, nothing is followed, and memory is bounded.

One daemon gets them all; it must still run a good request, and must not have grown by more than a few requests.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import House
from tests.support.waiting import wait_until

MOST_GROWTH = 60 * 1024 * 1024
TINY = int(os.environ.get("HAIKUD_TINY_FILES", "60"))
"""So many tiny bad files at once; set it to 10000 for the long run, which takes the polling watcher too."""

WATCHERS = ["inotify", "polling"] if TINY > 1_000 else ["inotify"]

GOOD: dict[str, Any] = {"title": "Fine", "role": "worker"}
SECRET = "what-nobody-may-read"

ROOT = os.geteuid() == 0


def request(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


# name -> content, a word that its reason must hold, and the id that it is answered under (None: the daemon's choice)
CONTENTS: dict[str, tuple[bytes, str, str | None]] = {
    "brackets.json": (b"[" * 100_000, "64 levels", "brackets"),
    "braces.json": (b'{"a":' * 100_000, "64 levels", "braces"),
    "flow.yaml": (b"[" * 100_000, "64 levels", "flow"),
    "block.yaml": (b"- " * 100_000, "64 levels", "block"),
    "keys.yaml": (b"? " * 100_000, "64 levels", "keys"),
    "wide.json": (b"[" + b"{}," * 300_000 + b"{}]", "20000", "wide"),
    "wide-y.yaml": (b"[" + b"a," * 400_000 + b"a]", "20000", "wide-y"),
    "bomb.yaml": (b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchor", "bomb"),
    "directives.yaml": (b"".join(b"%%TAG !a%d! x\n" % n for n in range(40_000)) + b"--- a", "%TAG", "directives"),
    "tag.yaml": (b"title: !!python/object/apply:os.system ['touch pwned']\n", "tag", "tag"),
    "long-tag.yaml": (b"!<" + b"a" * 900_000 + b"> b", "tag", "long-tag"),
    "twice.json": (b'{"task_id": "twice", "title": "a", "title": "b"}', "twice in one object", "twice"),
    "twice.yaml": (b"task_id: twice-y\ntitle: a\ntitle: b\n", "twice in one object", "twice-y"),
    "nan.json": (b'{"task_id": "nan", "title": "t", "max_cost_usd": NaN}', "NaN", "nan"),
    "infinite.json": (b'{"task_id": "infinite", "title": "t", "x": -Infinity}', "Infinity", "infinite"),
    "power.json": (b'{"task_id": "power", "title": "t", "x": 1e999999}', "finite number", "power"),
    "digits.json": (b'{"task_id": "digits", "title": "t", "x": ' + b"9" * 1_000_000 + b"}", "1000000 digits", "digits"),
    "digits.yaml": (b"task_id: digits-y\nx: " + b"9" * 1_000_000, "1000000 digits", "digits-y"),
    "yes.json": (request(task_id="yes", max_cost_usd=True), "/max_cost_usd", "yes"),
    "utf16.json": ('{"task_id": "x", "title": "t"}'.encode("utf-16"), "UTF-16", "utf16"),
    "utf16-without.json": ('{"task_id": "x", "title": "t"}'.encode("utf-16-le"), "UTF-16", "utf16-without"),
    "utf32.yaml": ("task_id: x".encode("utf-32"), "UTF-32", "utf32"),
    "latin.json": (b'{"task_id": "latin", "title": "\xe9"}', "no UTF-8", "latin"),
    "empty.json": (b"", "empty", "empty"),
    "nul.json": (b"\0" * 4096, "NUL", "nul"),
    "half.json": (request(task_id="half")[:-9], "cut off", "half"),
    "surrogate.json": (b'{"task_id": "surrogate", "title": "\\ud83d"}', "surrogate", "surrogate"),
    "deep.json": (request(task_id="deep", extra=nested(70)), "64 levels", "deep"),
    "a\nb\x1b[2J.json": (b"[", "", "a-b-2J"),
    "\udcff\udcfe.json": (b"[", "", None),
    "-rf.json": (b"[", "", "rf"),
    "a..json": (b"[", "", None),
    "Case.json": (b"[", "", "Case"),
    "case.json": (b"[", "", "case"),
    "x" * 250 + ".json": (b"[", "", None),
    "request": (request(task_id="r"), "file name", None),
}

# what is no error though it looks like one
FINE: dict[str, bytes] = {
    "bom.json": b"\xef\xbb\xbf" + request(task_id="bom"),
    "rich.json": request(task_id="rich", extra=nested(50), more=list(range(5_000))),
}


def odd_entries(house: House) -> dict[str, Callable[[Path], None]]:
    """Name -> what makes it: entries that are no regular files, or not the producer's own."""
    elsewhere = house.root / "elsewhere.json"
    elsewhere.write_bytes(request(task_id="stolen", description=SECRET))
    large = house.root / "large.json"
    large.touch()
    os.truncate(large, 1 << 30)

    def folder(path: Path) -> None:
        below = path
        for _ in range(100):
            below = below / "deeper"
        below.mkdir(parents=True)
        (path / "plan.json").write_bytes(request(task_id="inside"))

    def unix_socket(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            there = os.open(path.parent, os.O_PATH)  # a socket's path has 107 bytes at most
            listener.bind(f"/proc/self/fd/{there}/{path.name}")
            os.close(there)

    def unreadable(path: Path) -> None:
        path.write_bytes(b"[" if ROOT else request(task_id="mode-000"))
        path.chmod(0)

    made: dict[str, Callable[[Path], None]] = {
        "shadow.json": lambda path: path.symlink_to("/etc/shadow"),
        "dangling.json": lambda path: path.symlink_to(house.root / "nothing"),
        "good-link.json": lambda path: path.symlink_to(elsewhere),
        "fifo.json": os.mkfifo,
        "fifo-with-writer.json": os.mkfifo,
        "socket.json": unix_socket,
        "empty-folder.json": Path.mkdir,
        "full-folder.json": folder,
        "sparse.json": lambda path: path.hardlink_to(large),
        "mode-000.json": unreadable,
    }
    if ROOT:
        foreign = house.root / "foreign.json"
        foreign.write_bytes(request(task_id="foreign", description=SECRET))
        os.chown(foreign, 4711, 4711)
        made["foreign.json"] = lambda path: path.hardlink_to(foreign)
        made["null.json"] = lambda path: os.mknod(path, 0o020666, os.makedev(1, 3))
        made["zero.json"] = lambda path: os.mknod(path, 0o020666, os.makedev(1, 5))
    return made


@pytest.fixture
def writers() -> Iterator[list[int]]:
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def high_water(house: House) -> int:
    """The daemon's highest resident size so far, bytes."""
    assert house.process is not None
    status = Path(f"/proc/{house.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def names_of(house: House) -> dict[str, dict[str, Any]]:
    return {reason["name"]: reason for reason in house.rejected().values()}


def is_empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def drop_odd(folder: Path, prefix: str, odd: dict[str, Callable[[Path], None]], writers: list[int]) -> None:
    """Make each under a dot-name and rename it, so that none is taken half made."""
    for name, make in odd.items():
        hidden = folder / f".{prefix}{name}"
        make(hidden)
        if name == "fifo-with-writer.json":
            writers.append(os.open(hidden, os.O_RDWR | os.O_NONBLOCK))
        hidden.rename(folder / f"{prefix}{name}")


def check_answers(house: House) -> None:
    """Each file with hostile content has its answer, with the word, and lies in rejected/ byte for byte."""
    reasons = names_of(house)
    for name, (content, word, answered_as) in CONTENTS.items():
        reason = reasons[name.encode("utf-8", "backslashreplace").decode()]
        answer = house.read(f"responses/{reason['answered_as']}")
        assert answer is not None, name
        assert answer["status"] == "rejected"
        text = json.dumps(answer, ensure_ascii=False)
        assert word.lower() in text.lower(), (name, reason["reason"])
        assert len(text) < 20_000, name
        assert answered_as is None or reason["answered_as"] == f"{answered_as}.json", (name, reason["answered_as"])
        assert (house.spool / "rejected" / reason["stored_as"]).read_bytes() == content


def check_odd(house: House, odd: dict[str, Callable[[Path], None]]) -> None:
    """None was followed or read; each is answered, and lies in rejected/ as it was."""
    reasons = names_of(house)
    for name in odd:
        assert reasons[name]["answered_as"] == f"{Path(name).stem}.json"
        assert os.path.lexists(house.spool / "rejected" / reasons[name]["stored_as"])
    answers = (path.read_text(encoding="utf-8") for path in (house.spool / "responses").glob("*.json"))
    assert SECRET not in house.said() + "".join(answers)
    assert not (house.root / "pwned").exists()


@pytest.mark.slow
@pytest.mark.parametrize("watcher", WATCHERS)
def test_whatever_is_dropped_is_answered_or_set_aside_and_memory_is_bounded(
    house: House, writers: list[int], watcher: str
):
    house.settings = {"watcher": watcher, "poll_seconds": 0.2}
    house.role("worker", "true", workspace="none")
    house.start()
    house.request("before", role="worker")
    house.response("before")
    before = high_water(house)
    odd = odd_entries(house)
    for folder, prefix in (("incoming", ""), ("guidance", "guidance-"), ("control", "control-")):
        drop_odd(house.spool / folder, prefix, odd, writers)
    for name, content in {**{name: case[0] for name, case in CONTENTS.items()}, **FINE}.items():
        (house.spool / "incoming" / name).write_bytes(content)
    for number in range(TINY):
        (house.spool / "incoming" / f"tiny{number}.json").write_bytes(b"{%d" % number)
    for folder in ("guidance", "control"):
        (house.spool / folder / f"{folder}\n.cancel").write_bytes(b"x")
        (house.spool / folder / "before.json").write_bytes(b"[" * 100_000)
    expected = len(odd) * 3 + len(CONTENTS) + TINY + 4
    wait_until(
        lambda: len(list((house.spool / "rejected").glob("*.reason.json"))) >= expected,
        seconds=90 + TINY / 20,
        what=lambda: f"{expected} reasons; {house.tail()}",
    )
    for folder in ("incoming", "guidance", "control"):
        wait_until(partial(is_empty, house.spool / folder), what=f"{folder}/ to be empty")
    check_answers(house)
    check_odd(house, odd)
    for name in FINE:
        assert house.response(Path(name).stem)["status"] == "success"
    house.request("after", role="worker")
    assert house.response("after")["status"] == "success"
    assert sorted(path.name for path in (house.spool / "plans").glob("[!.]*")) == ["after", "before", "bom", "rich"]
    assert all(line[:2] == "20" for line in house.said().splitlines()), "a dropped name wrote a line of its own"
    growth = high_water(house) - before
    assert growth < MOST_GROWTH, f"the daemon grew by {growth} bytes over {expected} files"


def test_files_that_change_while_they_are_read_come_out_whole_or_answered(house: House):
    house.role("worker", "true", workspace="none")
    house.start()
    incoming = house.spool / "incoming"
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with (incoming / "grows.yaml").open("ab") as stream:
                stream.write(b"# more and more\n" * 2_000)
            with (incoming / "shrinks.yaml").open("wb") as stream:
                stream.write(b"title: [" * 1_000)
                stream.truncate(number % 9)
            for name in ("grows.yaml", "shrinks.yaml"):
                if number % 3 == 0:
                    (incoming / name).unlink(missing_ok=True)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        wait_until(lambda: len(house.rejected()) >= 15, what="some to be caught in the act")
    finally:
        stop.set()
        thread.join()
    wait_until(partial(is_empty, incoming), what="incoming/ to be empty")
    for reason in house.rejected().values():
        assert (house.spool / "responses" / reason["answered_as"]).exists()
    house.request("after", role="worker")
    assert house.response("after")["status"] == "success"
