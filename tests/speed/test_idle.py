"""A process that wakes up by itself is seen to, and one that sleeps is not."""

from __future__ import annotations

import subprocess
import time

from benchmarks.idle import Seen


def test_wake_ups_of_others_are_counted() -> None:
    with (
        subprocess.Popen(["/bin/sh", "-c", "while :; do sleep 0.25; done"]) as wakes,
        subprocess.Popen(["sleep", "60"]) as sleeps,
    ):
        time.sleep(0.2)
        both = Seen("wakes", wakes.pid), Seen("sleeps", sleeps.pid)
        for _ in range(30):
            for one in both:
                one.look()
            time.sleep(0.05)
        assert both[0].wakes >= 4
        assert both[1].wakes <= 2, "the first look counts too, and on a busy machine its start"
        assert both[1].ran_so_far() > 0
        for process in (wakes, sleeps):
            process.kill()
