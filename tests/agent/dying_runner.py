"""The runner, killed by itself at one of its durable writes: python dying_runner.py WHEN:KIND:N ARGS...

`before:assistant:2`: just before the second `assistant` line of this attempt's transcript is written; `after:...`: as
soon as it is durable; `raise:...`: a bug there. A KIND with a dot is a file's name, such as `result.json`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Run the attempt until then."""
    when, kind, number = sys.argv[1].split(":")
    left = int(number)
    from haikud.spool import durable

    def dying(write: Any, matches: Any) -> Any:
        def wrapped(path: Path, data: bytes, *args: Any) -> None:
            nonlocal left
            hit = matches(path, data, *args)
            left -= hit
            if hit and left == 0 and when == "raise":
                raise ZeroDivisionError
            if hit and left == 0 and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, data, *args)
            if hit and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    said = f'"kind":"{kind}"'.encode()
    durable.append_durably = dying(durable.append_durably, _has(said))
    durable.write_durably = dying(durable.write_durably, lambda path, *_: kind in path.name)
    from haikud.agent.__main__ import main as run

    return run(sys.argv[2:])


def _has(said: bytes) -> Any:
    return lambda _path, *lines: any(said in line.replace(b": ", b":") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
