"""`haikud`, with a watcher that is deaf: every inotify event is read from the kernel and dropped."""

from __future__ import annotations

import sys

from watchdog.observers.inotify import InotifyEmitter
from watchdog.utils import Seconds


def drop_events(emitter: InotifyEmitter, _timeout: Seconds, **_: object) -> None:
    """Read one, say nothing of it."""
    inotify = emitter._inotify
    if inotify is not None:
        inotify.read_event()


def main() -> None:
    """What is called as `deaf_daemon.py PYTHON -m haikud.interfaces ARGUMENTS`, a wrapper of the daemon's command."""
    from haikud.interfaces.cli import main as haikud

    InotifyEmitter.queue_events = drop_events  # type: ignore[assignment,method-assign]
    sys.argv = [sys.argv[0], *sys.argv[4:]]
    haikud()


if __name__ == "__main__":
    main()
