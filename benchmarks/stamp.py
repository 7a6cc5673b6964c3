"""The program that all contenders start: its first instruction writes what time it is into a pipe, and it ends.

Compiled C, linked statically, where there is a compiler, so that next to nothing comes before its first instruction;
elsewhere `date`, which needs about a millisecond more with every contender alike.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

SOURCE = """
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    char line[32];
    int length = snprintf(line, sizeof line, "%lld\\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    int pipe = open(words[1], O_WRONLY);
    return pipe < 0 || write(pipe, line, length) != length;
}
"""

_PIPE_BYTES = 1 << 20
"""Room for some fifty thousand lines, for a burst's producer reads them only after it has dropped all."""


class Stamp:
    """The program, the pipe that it writes into, and the clock that it reads."""

    def __init__(self, folder: Path) -> None:
        self.pipe = folder / "stamps"
        os.mkfifo(self.pipe)
        self._open = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self._open, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._rest = b""
        compiler = shutil.which("cc") or shutil.which("gcc")
        self.compiled = compiler is not None and compile_stamp(compiler, folder)
        program = str(folder / "stamp") if self.compiled else _script(folder)
        self.argv = [program, str(self.pipe)]

    def now(self) -> int:
        """Nanoseconds on the clock that the program reads."""
        return time.monotonic_ns() if self.compiled else time.time_ns()

    def read(self, count: int, *, seconds: float = 60.0) -> list[int]:
        """The next `count` first instructions; fewer when the time is up."""
        found: list[int] = []
        end = time.monotonic() + seconds
        while len(found) < count and (left := end - time.monotonic()) > 0:
            if select.select([self._open], [], [], left)[0]:
                *lines, self._rest = (self._rest + os.read(self._open, 1 << 16)).split(b"\n")
                found += [int(line) for line in lines]
        return found

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._open)


def compile_stamp(compiler: str, folder: Path) -> bool:
    """Whether `stamp` lies in the folder now, statically linked if that can be."""
    source = folder / "stamp.c"
    source.write_text(SOURCE, encoding="ascii")
    command = [compiler, "-O2", "-o", str(folder / "stamp"), str(source)]
    return any(
        subprocess.run([*command, *extra], check=False, capture_output=True).returncode == 0
        for extra in (["-static"], [])
    )


def _script(folder: Path) -> str:
    path = folder / "stamp.sh"
    path.write_text('#!/bin/sh\nexec date +%s%N > "$1"\n', encoding="ascii")
    path.chmod(0o755)
    return str(path)
