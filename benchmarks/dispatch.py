"""From handing a program over to its first instruction, one at a time: haikud beside other queues, in turns in one run.

Run, at the top of a checkout: python -m benchmarks.dispatch [--rounds 200] [--json FILE]

All daemons run and are idle; each round asks every contender once for the same tiny program (see benchmarks.stamp),
waits until it has wholly ended, and pauses. The clock starts right before the rename of a plan that lies there written,
or before the call that enqueues (for task-spooler and nq that is the start of their client: there is no other way in).
It stops at the program's first instruction; for haikud also where the answer is there to be read.

What it does not show: a busy machine, waiting in line (see benchmarks.burst), walls around the program (see
benchmarks.isolation), a repository larger than a few files, or the time in which the producer writes its file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contender_haikud import Haikud, HaikudOrdinary, contenders_house
from benchmarks.contenders import OTHERS, TASK_SPOOLER, Contender, is_here, start_all
from benchmarks.figures import Row, arguments, finish, percentile, say
from benchmarks.stamp import Stamp

PAUSE_SECONDS = 0.02
"""Between two contenders, so that what one still tidies up is not in the next one's way."""

WARM_ROUNDS = 3

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def measure(contenders: list[Contender], rounds: int) -> dict[str, list[float]]:
    """Milliseconds to the first instruction, and to the answer where there is one, of each."""
    taken: dict[str, list[float]] = {}
    for number in range(-WARM_ROUNDS, rounds):
        for one in contenders:
            began = one.drop()
            stamps = one.stamp.read(1)
            assert stamps, f"{one.name}: the program did not run"
            answered = one.settled()
            if number >= 0:
                taken.setdefault(one.name, []).append((stamps[0] - began) / 1e6)
                if answered is not None:
                    taken.setdefault(answer_of(one.name), []).append((answered - began) / 1e6)
            time.sleep(PAUSE_SECONDS)
        if number > 0 and number % 50 == 0:
            say(f"{number} of {rounds} rounds")
    return taken


def answer_of(name: str) -> str:
    """The line for a contender's answers."""
    return f"{name}: its answer"


def rows_of(taken: Mapping[str, list[float]], contenders: list[Contender]) -> list[Row]:
    """Percentiles, and how they compare with task-spooler's."""
    keeps = {one.name: one.durability for one in contenders}
    rows = []
    measure_of = taken.get(TASK_SPOOLER)
    for name, values in taken.items():
        note = keeps.get(name, "")
        for column, share in SHARES.items():
            rows.append(Row(name, percentile(values, share), "ms", note, column))
        for column in ("p50", "p95") if measure_of else ():
            ratio = percentile(values, SHARES[column]) / percentile(measure_of or [], SHARES[column])
            rows.append(Row(name, ratio, "x", note, f"{column} to {TASK_SPOOLER}'s"))
    return rows


def compare(folder: Path, rounds: int) -> tuple[list[Row], dict[str, list[float]]]:
    """All that can be measured here."""
    with ExitStack() as stack:
        stamp = Stamp(folder)
        stack.callback(stamp.close)
        house = contenders_house(folder / "house")
        stack.callback(house.close)
        contenders: list[Contender] = [kind(folder / kind.__name__, stamp) for kind in OTHERS if is_here(kind)]
        contenders += [Haikud(folder / "none", stamp, house), HaikudOrdinary(folder / "ordinary", stamp, house)]
        start_all(contenders, stack)
        say(f"{rounds} rounds of {len(contenders)} contenders")
        taken = measure(contenders, rounds)
        return rows_of(taken, contenders), taken


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="haikud-dispatch-") as folder:
        rows, taken = compare(Path(folder), options.rounds)
    samples = {name: [round(value, 3) for value in values] for name, values in taken.items()}
    finish("dispatch", rows, options.json, note_is="a kill -9 of it", samples=samples)


if __name__ == "__main__":
    main()
