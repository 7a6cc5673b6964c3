"""A thousand programs that do nothing, on two slots: seconds, and processor time of all processes, in turns in one run.

Run, at the top of a checkout: python -m benchmarks.burst [--plans 1000] [--ordinary 100] [--turns 3] [--json FILE]

One producer asks for all as fast as it can. The clock starts at the first one's beginning and stops at the last
program's first instruction; for haikud later, where the last answer is there to be read. haikud's ordinary way (a
worktree and a branch for each plan) gets fewer plans, and its seconds are scaled up, as its note says. Processor time
is user and system seconds of all processes, the producer's and those that have ended included, until half a second
after the end: on a busy machine it says more than the clock. After each turn of haikud every plan is looked at:
answered once, with success, in its first attempt, its program started once; where that is not so, there is no figure.

What it does not show: programs that do something (two slots are then what matters, not the queue), a producer that
waits for each answer (see benchmarks.dispatch), walls, or a spool with a long history (see benchmarks.history).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contender_haikud import Haikud, HaikudOrdinary, contenders_house
from benchmarks.contenders import OTHERS, TASK_SPOOLER, Contender, is_here, start_all
from benchmarks.figures import Row, arguments, count_descendants, cpu_seconds, finish, say
from benchmarks.stamp import Stamp

AFTERWARDS_SECONDS = 0.5
"""For what is still done when the last one has begun, or is answered: it costs processor time too."""


@dataclass(frozen=True)
class Turn:
    """One burst of one contender."""

    plans: int
    seconds: float
    cpu: float


def burst(one: Contender, plans: int) -> Turn:
    """Ask for all, wait for all, look at all."""
    cpu = cpu_seconds(keep=kept(one))
    began = one.stamp.now()
    one.drop_many(plans)
    patience = 60 + plans * 1.0
    ended, more = 0, plans
    if isinstance(one, Haikud):
        dropped, one.dropped = one.dropped[-plans:], one.dropped[-1:]
        ended = one.all_answered(dropped, seconds=patience)
    stamps = one.stamp.read(more, seconds=patience)
    one.settled()
    time.sleep(AFTERWARDS_SECONDS)
    turn = Turn(plans, (max(ended, *stamps) - began) / 1e9, cpu_seconds(keep=kept(one)) - cpu)
    stamps += one.stamp.read(1, seconds=0.01)
    assert len(stamps) == plans, f"{one.name}: {len(stamps)} programs were started for {plans}"
    if isinstance(one, Haikud):
        look_at(one, dropped)
    return turn


def kept(one: Contender) -> list[int]:
    """Processes that somebody else waits for."""
    house = one.house if isinstance(one, Haikud) else None
    return [process.pid for process in house.processes] if house else []


def look_at(one: Haikud, plans: list[str]) -> None:
    """Each plan was answered with success, in its first attempt, and nothing was rejected."""
    spool = one.house.spool
    assert not one.house.rejected()
    for plan in plans:
        answer = json.loads((spool / "responses" / f"{plan}.json").read_bytes())
        assert answer["status"] == "success", answer
        assert answer["correlation_id"] == plan, answer
        attempts = [path.name for path in (spool / "plans" / plan / plan).glob("attempt-*")]
        assert attempts == ["attempt-1"], (plan, attempts)


def rows_of(turns: dict[str, list[Turn]], notes: dict[str, str], plans: int) -> list[Row]:
    """Medians, and how they compare with task-spooler's."""
    seconds = {
        name: statistics.median(turn.seconds / turn.plans * plans for turn in all_) for name, all_ in turns.items()
    }
    cpu = {name: statistics.median(turn.cpu / turn.plans * 1000 for turn in all_) for name, all_ in turns.items()}
    rows = []
    for name, note in notes.items():
        rows.append(Row(name, seconds[name], "s", note, f"{plans} plans"))
        rows.append(Row(name, seconds[name] / plans * 1000, "ms", note, "a plan"))
        rows.append(Row(name, cpu[name], "ms", note, "CPU a plan"))
        if TASK_SPOOLER in seconds:
            rows.append(Row(name, seconds[name] / seconds[TASK_SPOOLER], "x", note, f"time to {TASK_SPOOLER}'s"))
            rows.append(Row(name, cpu[name] / cpu[TASK_SPOOLER], "x", note, f"CPU to {TASK_SPOOLER}'s"))
    return rows


def compare(folder: Path, plans: int, ordinary: int, turns: int) -> list[Row]:
    """All that can be measured here."""
    count_descendants()
    with ExitStack() as stack:
        stamp = Stamp(folder)
        stack.callback(stamp.close)
        house = contenders_house(folder / "house")
        stack.callback(house.close)
        haikud = Haikud(folder / "none", stamp, house), HaikudOrdinary(folder / "ordinary", stamp, house)
        others = [kind(folder / kind.__name__, stamp) for kind in OTHERS if is_here(kind)]
        contenders: list[Contender] = [*others, *haikud]
        start_all(contenders, stack)
        taken: dict[str, list[Turn]] = {}
        for number in range(turns):
            for one in contenders:
                turn = burst(one, ordinary if isinstance(one, HaikudOrdinary) else plans)
                taken.setdefault(one.name, []).append(turn)
                took = f"{turn.plans} in {turn.seconds:.2f} s, CPU {turn.cpu:.2f} s"
                say(f"turn {number + 1} of {turns}: {one.name}: {took}")
    notes = {one.name: one.durability for one in contenders}
    notes[HaikudOrdinary.name] += f"; {ordinary} plans, scaled to {plans}" if ordinary != plans else ""
    return rows_of(taken, notes, plans)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--plans", type=int, default=1000)
    parser.add_argument("--ordinary", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="haikud-burst-") as folder:
        rows = compare(Path(folder), options.plans, options.ordinary, options.turns)
    finish("burst", rows, options.json, note_is="a kill -9 of it", plans=options.plans, turns=options.turns)


if __name__ == "__main__":
    main()
