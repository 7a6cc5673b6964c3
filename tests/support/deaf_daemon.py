"""`haikud`, with a watcher that is deaf: every inotify event is read from the kernel and dropped."""

from __future__ import annotations

import sys

from inotify_simple import INotify

read = INotify.read


def drop_events(inotify: INotify, **options: object) -> list[object]:
    """Read them, say nothing of them."""
    read(inotify, **options)
    return []


def main() -> None:
    """What is called as `deaf_daemon.py PYTHON -m haikud.interfaces ARGUMENTS`, a wrapper of the daemon's command."""
    from haikud.interfaces.cli import main as haikud

    INotify.read = drop_events
    sys.argv = [sys.argv[0], *sys.argv[4:]]
    haikud()


if __name__ == "__main__":
    main()
