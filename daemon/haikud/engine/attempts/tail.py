"""Following a running attempt's events.jsonl: read on from where the last look ended. Hints only: nothing decides."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from pydantic import ValidationError

from haikud.contracts.attempt import AttemptEvent, EventKind
from haikud.engine.board import Progress
from haikud.engine.monitors.watch import follow
from haikud.spool.layout import AttemptPaths
from haikud.spool.reading import UntrustedFile, open_untrusted

MOST_BYTES = 1 << 20
"""Of one look; the rest comes with the next."""


def read_on(
    paths: AttemptPaths, progress: Progress, place: Callable[[AttemptEvent], float] = lambda _: 0.0
) -> Progress:
    """The progress after the events that were appended since; `place` says when one was, by the daemon's clock.

    The file is the runner's, but an agent that runs unconfined may have put something else in its place.
    """
    try:
        descriptor = open_untrusted(paths.events)
    except UntrustedFile:
        return progress
    try:
        size = os.fstat(descriptor).st_size
        if size <= progress.offset:
            return progress
        data = os.pread(descriptor, MOST_BYTES, progress.offset)
    except OSError:
        return progress
    finally:
        os.close(descriptor)
    whole = data[: data.rfind(b"\n") + 1]
    events: list[AttemptEvent] = []
    for line in whole.splitlines():
        with suppress(ValidationError):
            events.append(AttemptEvent.model_validate_json(line))
    after = advance(progress, events, progress.offset + len(whole), place)
    after.is_behind = size > progress.offset + len(data)
    return after


def advance(
    progress: Progress,
    events: Iterable[AttemptEvent],
    offset: int,
    place: Callable[[AttemptEvent], float] = lambda _: 0.0,
) -> Progress:
    """The progress after some events. Pure."""
    after = Progress(**vars(progress))
    after.offset = offset
    for event in events:
        after.watch = follow(after.watch, event, place(event))
        if event.usage is not None and event.kind is EventKind.USAGE:
            after.cost_usd += event.usage.cost_usd
            after.sonnet_cost_usd += event.usage.sonnet_cost_usd
            after.tokens_used += event.usage.tokens_used
            after.model = event.usage.model
        if event.phase is not None:
            after.phase = str(event.phase)
        if event.percent is not None:
            after.percent = event.percent
        if event.message:
            after.message = event.message
    return after
