"""An observer of a spool's processes that trusts none of haikud's own files: only /proc.

`python -m tests.crash.observer --spool DIR --tag TAG --report FILE --violations FILE` looks at all processes every 20
to 50 ms until TERM comes, and then writes its report. It knows a runner by its command line (`haikud-agent REF FOLDER`, and
before the title is set the arguments it was started with) and everyone of an attempt by HAIKUD_OUT in the environment.

A violation is proven, not guessed: two processes were each seen alive twice, in turns, so that both lived at once.
 - two runners of one task;
 - processes of two attempts of one task;
 - two claims of one task locked (/proc/locks), seen twice in a row;
 - a runner that has taken its title and has no lock on a claim (/proc/PID/fdinfo; where we may read it).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

YOUNG_SECONDS = 3.0
"""A process may still become another one by exec: so long it is looked at anew each time."""

PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Who:
    """What a process is to the spool."""

    ref: str
    attempt: int | None
    is_runner: bool


@dataclass(frozen=True)
class Seen:
    """A living process at one look."""

    pid: int
    started: int  # clock ticks since boot
    parent: int


@dataclass
class Report:
    """What was seen in all."""

    looks: int = 0
    longest_gap: float = 0.0  # seconds between two looks
    seconds: float = 0.0
    most_runners: int = 0
    most_processes: int = 0
    runners: int = 0  # different ones
    processes: int = 0  # different ones, runners among them
    claims_checked: int = 0
    violations: list[str] = field(default_factory=list)


def look(pid: int) -> Seen | None:
    """The process, if it is alive; a zombie is not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    return None if fields[0] in {b"Z", b"X"} else Seen(pid, int(fields[19]), int(fields[1]))


def who_is(pid: int, spool: str, tag: str) -> Who | None:
    """What that process is to the spool; None: nothing."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    title = words[0].decode(errors="replace")
    out = _out_of(pid, spool)
    if match := re.fullmatch(rf"haikud-agent ({re.escape(tag)}\S*)(?: (.*))?", title, re.DOTALL):
        if match[2] and not Path(match[2]).is_relative_to(spool):
            return None
        return Who(match[1], out[1] if out else None, is_runner=True)
    if b"haikud.agent" in words and b"--attempt" in words:
        folder = Path(os.fsdecode(words[words.index(b"--attempt") + 1]))
        if folder.is_relative_to(spool):
            return Who(*_of_folder(folder, spool), is_runner=True)
        return None
    return Who(*out, is_runner=False) if out else None


def _out_of(pid: int, spool: str) -> tuple[str, int] | None:
    """Ref and attempt of its HAIKUD_OUT."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    for entry in environment:
        if entry.startswith(b"HAIKUD_OUT="):
            folder = Path(os.fsdecode(entry[11:])).parent
            return _of_folder(folder, spool) if folder.is_relative_to(spool) else None
    return None


def _of_folder(attempt: Path, spool: str) -> tuple[str, int]:
    plan, task, name = attempt.relative_to(spool).parts[1:4]
    return plan if plan == task else f"{plan}.{task}", int(name.removeprefix("attempt-"))


def spool_processes(spool: str, tag: str) -> dict[int, tuple[Seen, Who]]:
    """Every living runner and agent of the spool, by pid."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        if name.isdigit() and (seen := look(int(name))) and (who := who_is(seen.pid, spool, tag)):
            found[seen.pid] = (seen, who)
    return found


class Observer:
    """See the module's head."""

    def __init__(self, spool: Path, tag: str, violations: Path) -> None:
        self.report = Report()
        self._spool = str(spool)
        self._tag = tag
        self._file = violations
        self._known: dict[int, tuple[int, float, Who | None]] = {}  # pid -> start time, first seen, who
        self._counted: set[tuple[int, int]] = set()
        self._runners: set[tuple[int, int]] = set()
        self._claims_checked: set[tuple[int, int]] = set()
        self._unlocked: set[tuple[int, int]] = set()
        self._said: set[str] = set()

    def sample(self) -> None:
        """One look at everything."""
        here = self._living()
        self.report.looks += 1
        runners = {pid for pid, (_, who) in here.items() if who.is_runner}
        # A child between fork and exec has the command line of its parent.
        runners -= {pid for pid in runners if here[pid][0].parent in runners}
        self.report.most_runners = max(self.report.most_runners, len(runners))
        self.report.most_processes = max(self.report.most_processes, len(here))
        by_ref: dict[str, list[tuple[Seen, Who]]] = {}
        for seen, who in here.values():
            by_ref.setdefault(who.ref, []).append((seen, who))
            self._counted.add((seen.pid, seen.started))
            if seen.pid in runners:
                self._runners.add((seen.pid, seen.started))
        for ref, group in by_ref.items():
            self._check_runners(ref, [seen for seen, _ in group if seen.pid in runners])
            self._check_attempts(ref, group)
        self._check_claims(set(by_ref))
        for pid in runners:
            self._check_lock(*here[pid])

    def finish(self) -> Report:
        """The report."""
        self.report.processes, self.report.runners = len(self._counted), len(self._runners)
        self.report.claims_checked = len(self._claims_checked)
        return self.report

    def _living(self) -> dict[int, tuple[Seen, Who]]:
        now = time.monotonic()
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - many times a second
        for gone in self._known.keys() - pids:
            del self._known[gone]
        here = {}
        for pid in pids:
            known = self._known.get(pid)
            if known is not None and known[2] is None and now - known[1] > YOUNG_SECONDS:
                continue
            seen = look(pid)
            if seen is None:
                continue
            if known is None or known[0] != seen.started or now - known[1] <= YOUNG_SECONDS:
                first = known[1] if known and known[0] == seen.started else now
                known = self._known[pid] = (seen.started, first, who_is(pid, self._spool, self._tag))
            if known[2] is not None:
                here[pid] = (seen, known[2])
        return here

    def _check_runners(self, ref: str, found: list[Seen]) -> None:
        if len(found) > 1 and _still(found) and all(who_is(s.pid, self._spool, self._tag) for s in found):
            self._say(f"two runners of {ref} alive together: {sorted(seen.pid for seen in found)}")

    def _check_attempts(self, ref: str, group: list[tuple[Seen, Who]]) -> None:
        by_attempt: dict[int, list[Seen]] = {}
        for seen, who in group:
            if who.attempt is not None:
                by_attempt.setdefault(who.attempt, []).append(seen)
        if len(by_attempt) > 1:
            older = [seen for seen in by_attempt[min(by_attempt)] if _still([seen])]
            newer = [seen for seen in by_attempt[max(by_attempt)] if _still([seen])]
            older = [seen for seen in older if _still([seen])]
            if older and newer:
                words = [_words(seen.pid) for seen in (*older, *newer)]
                self._say(f"processes of attempts {min(by_attempt)} and {max(by_attempt)} of {ref} alive", f": {words}")

    def _check_claims(self, refs: set[str]) -> None:
        if not refs:
            return
        twice = self._claims_of(refs)
        if twice:
            twice &= self._claims_of(refs)
        for ref in twice:
            self._say(f"two claims of {ref} are locked")

    def _claims_of(self, refs: set[str]) -> set[str]:
        """The refs of which more than one claim is locked."""
        held: dict[str, set[int]] = {}
        inodes = set()
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "FLOCK" in fields:
                inodes.add(next(field for field in fields if field.count(":") == 2))
        for ref in refs:
            plan, _, task = ref.partition(".")
            for claim in Path(self._spool, "plans", plan, task or plan).glob("attempt-*/claim"):
                with contextlib.suppress(OSError):
                    status = claim.stat()
                    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
                    if device in inodes:
                        held.setdefault(ref, set()).add(status.st_ino)
        return {ref for ref, locked in held.items() if len(locked) > 1}

    def _check_lock(self, seen: Seen, who: Who) -> None:
        """Once per runner that has its title: it holds the lock on a claim."""
        key = (seen.pid, seen.started)
        if key in self._claims_checked or not _words(seen.pid).startswith("haikud-agent "):
            return
        try:
            claims = [
                name
                for name in os.listdir(f"/proc/{seen.pid}/fd")  # noqa: PTH208
                if (target := os.readlink(f"/proc/{seen.pid}/fd/{name}")).endswith("/claim")  # noqa: PTH115
                and target.startswith(self._spool)
            ]
            locked = ["FLOCK" in Path(f"/proc/{seen.pid}/fdinfo/{name}").read_text(encoding="ascii") for name in claims]
        except OSError:  # it is gone, or closed to us
            return
        if _still([seen]) and _words(seen.pid).startswith("haikud-agent "):
            if any(locked):
                self._claims_checked.add(key)
            elif key in self._unlocked:  # twice: the child of a runner that was killed may be about to exec
                self._claims_checked.add(key)
                self._say(f"the runner {seen.pid} of {who.ref} holds no claim")
            self._unlocked.add(key)

    def _say(self, text: str, more: str = "") -> None:
        """Once for each text."""
        if text not in self._said:
            self._said.add(text)
            text += more
            self.report.violations.append(text)
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(f"observer: {text}\n")


def _still(group: list[Seen]) -> bool:
    """Whether they are all alive and the same as before."""
    return all((now := look(seen.pid)) is not None and now.started == seen.started for seen in group)


def _words(pid: int) -> str:
    try:
        return f"{Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace').strip()}"
    except OSError:
        return ""


def main(arguments: list[str] | None = None) -> int:
    """Look until TERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.observer")
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--violations", type=Path, required=True)
    options = parser.parse_args(arguments)
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    observer = Observer(options.spool, options.tag, options.violations)
    began = last = time.monotonic()
    parent = os.getppid()
    while not over and os.getppid() == parent:
        observer.sample()
        spent = time.monotonic() - last
        observer.report.longest_gap = max(observer.report.longest_gap, spent)
        last = time.monotonic()
        time.sleep(max(PAUSE_SECONDS, min(0.05, spent)))
    report = observer.finish()
    report.seconds = time.monotonic() - began
    options.report.write_text(json.dumps(asdict(report)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
