"""What daemon and forkserver say to each other: one message a packet, JSON, descriptors beside it.

Daemon to forkserver: `ForkOrder`, with the descriptors that `handed` names in its order; or `SpareOrder`: have runners
forked ahead of need. Forkserver to daemon: `ForkNews`, of six kinds: it is ready; an order is carried out, with the
runner's pidfd beside it; a spare is there, with its pidfd and the socket on which it takes its `ForkOrder` itself,
without an answer; an order is refused; its code on disk is another by now, so that it forks no more; a runner (a spare
too) has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from haikud.contracts.base import Model

MOST_BYTES = 196_608
"""Of one message: less than what a packet between two processes may have by default."""

ROOM = "HAIKUD_ROOM"
"""The variable whose place in the forkserver's first environment runners write their mark over."""


class ForkOrder(Model):
    """A runner is wanted. `{claim}` and `{key}` in argv become the numbers of those descriptors."""

    number: int = Field(ge=1)  # of this order, said again in the answer
    argv: list[str]
    environment: dict[str, str]  # all of it
    handed: list[Literal["log", "claim", "key"]]


class SpareOrder(Model):
    """So many more runners are to be forked ahead of need."""

    spares: int = Field(ge=1)
    cgroups: list[str] = Field(default_factory=list)  # one for each to enter, as far as there are any; "": none


class NewsKind(StrEnum):
    """What a forkserver says."""

    READY = "ready"
    FORKED = "forked"
    SPARE = "spare"
    REFUSED = "refused"
    STALE = "stale"
    ENDED = "ended"


class ForkNews(Model):
    """See the module's head."""

    kind: NewsKind
    number: int | None = None  # of the order that is answered: forked, refused, stale; None: it was for a spare
    pid: int | None = None  # forked, spare, ended
    code: int | None = None  # ended: negative where it died of that signal
    why: str = ""  # refused


def with_numbers(argv: Sequence[str], handed: Mapping[str, int]) -> list[str]:
    """The argument list of `ForkOrder` with the numbers that the descriptors have in the process that starts it."""
    return [str(handed[word[1:-1]]) if word in {"{claim}", "{key}"} else word for word in argv]
