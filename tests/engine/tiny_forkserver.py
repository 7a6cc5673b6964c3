"""Plays the forkserver for the launcher's tests: the real one, with the tiny runner as what it forks."""

from __future__ import annotations

import argparse
import importlib.util
import socket
import sys
from pathlib import Path

from setproctitle import setproctitle

from haikud.agent.forkserver import Forkserver
from haikud.agent.sources import Sources
from haikud.spool.claims import runner_title

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--watched", type=Path)
    parser.add_argument("room")
    given = parser.parse_args()
    tiny = importlib.util.spec_from_file_location("haikud.tiny_runner", HERE / "tiny_runner.py")
    module = importlib.util.module_from_spec(tiny)
    tiny.loader.exec_module(module)
    if given.watched:
        watched = importlib.util.spec_from_file_location("haikud.watched", given.watched)
        sys.modules["haikud.watched"] = importlib.util.module_from_spec(watched)
    link = socket.socket(fileno=given.socket_fd)
    link.set_inheritable(False)

    def run(argv: list[str]) -> int:
        sys.argv = ["tiny_runner", *argv]
        setproctitle(runner_title(argv[-1], Path(argv[argv.index("--attempt") + 1])))
        return module.main()

    fresh = (sys.executable, str(HERE / "tiny_runner.py"))
    sources = Sources()
    Forkserver(link, run, sources.have_changed, fresh, not_for_runners=sources.descriptors).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
