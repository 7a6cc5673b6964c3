"""From the ends of attempts to the next ones: what waits at the same moment is decided in one hop and one batch.

Of the attempts that are over, those after which nothing comes get their final decisions; who is next in line is started
in their place; and what was answered before is marked as published. Two rounds of fsyncs for all of it: first the final
decisions with their answers (final_word.py) and the orders of the next attempts; when these are durable, the names in
responses/, the decisions to run, and the marks. A slot so waits for two rounds between one attempt and the next.

Where the first round fails nothing has happened, and each is tried by itself. Where the second does, the final
decisions hold; nothing is published, started or marked, which the next steps see and try again, each by itself.

Everything that is not simple takes its own way: settlement.py, starting.py, finishing.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from haikud.contracts.base import utc_now
from haikud.contracts.states import TaskState
from haikud.engine.answers.final_word import FinalWord
from haikud.engine.answers.finishing import final_word_of, leave_marked, move_of, take_final_word, to_mark
from haikud.engine.attempts.aftermath import Aftermath
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.settlement import close_attempt, final_fields, settled_entry, what_follows
from haikud.engine.attempts.start import Start, doing
from haikud.engine.attempts.starting import starts_in_place_of
from haikud.engine.board import OpenTask, Published
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import End
from haikud.engine.machine.faults import FAULTS
from haikud.engine.policy import Finish
from haikud.spool.batch import Batch
from haikud.spool.layout import SpoolLayout

Move = tuple[str, TaskState | None, TaskState]


@dataclass(frozen=True)
class Ending:
    """An attempt that is over, after which nothing comes."""

    entry: OpenTask
    aftermath: Aftermath
    word: FinalWord


@dataclass
class HandedOver:
    """What one hop has brought."""

    settled: list[Aftermath] = field(default_factory=list)
    failed: list[tuple[OpenTask, End]] = field(default_factory=list)  # of the next ones: those that did not start


@dataclass
class _Written:
    published: list[Published | None]
    is_started: bool = False
    marked: list[str] = field(default_factory=list)


async def hand_over(engine: Engine, roles: RoleLookup, aftermaths: Sequence[Aftermath]) -> HandedOver:
    """Settle those for which it is simple, and start the next ones. Who is not settled is for `settle_attempt`."""
    endings = _endings(engine, aftermaths)
    if not endings:
        return HandedOver()
    starts = _starts(engine, roles, endings)
    marks = [entry for entry in to_mark(engine) if entry.linked not in {None, entry.state}]
    words, moves = [one.word for one in endings], [move_of(entry) for entry in marks]
    try:
        written = await engine.write(_write, engine.layout, words, starts, moves)
    except FAULTS:  # nothing has happened; who is tried by himself says why
        return HandedOver()
    done = HandedOver([one.aftermath for one in endings])
    try:
        for start in starts if written.is_started else []:  # first: the slots are waiting
            engine.trouble.heal(doing(start.ref))
            end = await start.carry_out()
            if end is not None:
                done.failed.append((engine.board.tasks[start.ref], end))
    finally:  # whatever became of the next ones: these words are durable, and said once
        for one, published in zip(endings, written.published, strict=True):
            engine.trouble.heal(one.aftermath.doing)
            take_final_word(engine, one.entry, one.word.decision, published)
            close_attempt(engine, one.entry, one.aftermath)
    for entry in marks:
        if entry.ref in written.marked:
            leave_marked(engine, entry)
    return done


def _endings(engine: Engine, aftermaths: Sequence[Aftermath]) -> list[Ending]:
    """Those after which nothing comes, one of each plan: whether one is its plan's last is known when others are."""
    found: dict[str, Ending] = {}
    for aftermath in aftermaths:
        entry = settled_entry(engine, aftermath)
        if entry is None or entry.owner.id in found or not _is_simple(aftermath):
            continue
        following = what_follows(engine, entry, aftermath, utc_now())
        if isinstance(following, Finish):
            entry.evidence = aftermath.evidence
            word = final_word_of(engine, entry, **final_fields(entry, aftermath, following))
            found[entry.owner.id] = Ending(entry, aftermath, word)
    return list(found.values())


def _is_simple(aftermath: Aftermath) -> bool:
    """Whether nothing has to be made durable before its decision: its result, or what it has used."""
    return (aftermath.result is None or aftermath.is_durable) and (
        aftermath.is_metered or aftermath.usage.cost_usd == 0
    )


def _starts(engine: Engine, roles: RoleLookup, endings: Sequence[Ending]) -> list[Start]:
    """Who starts in their place. Nobody, where one of their own plan may be queued first by what they decide.

    Nor anybody who may spend, where they have spent: what is left is known when that is counted.
    """
    entries = [one.entry for one in endings]
    for entry in entries:
        if TaskState.WAITING in engine.board.plans[entry.owner.id].states.values():
            return []
    starts = starts_in_place_of(engine, roles, entries)
    if any(one.aftermath.usage.cost_usd for one in endings) and any(start.token is not None for start in starts):
        return []
    return starts


def _write(layout: SpoolLayout, words: Sequence[FinalWord], starts: Sequence[Start], moves: Sequence[Move]) -> _Written:
    """On the writing thread. Raises OSError where the first round failed."""
    batch = Batch()
    try:
        published = [word.put_into(batch) for word in words]
        for start in starts:
            start.put_into(batch)
        batch.commit_early()
        with suppress(OSError):
            _commit(batch, layout, words, moves)
            return _after_commit(batch, layout, words, published, starts, moves)
        return _Written([None for _ in words])
    finally:
        batch.discard()


def _commit(batch: Batch, layout: SpoolLayout, words: Sequence[FinalWord], moves: Sequence[Move]) -> None:
    for word in words:
        word.put_answers_into(batch)
    for ref, known, to in moves:
        if known is not None:
            batch.try_rename(layout.link(known, ref), layout.link(to, ref))
    batch.commit()


def _after_commit(
    batch: Batch,
    layout: SpoolLayout,
    words: Sequence[FinalWord],
    published: Sequence[Published],
    starts: Sequence[Start],
    moves: Sequence[Move],
) -> _Written:
    for start in starts:
        with suppress(OSError):  # the decision holds; the next move looks where its link is
            start.settle()
    return _Written(
        [said if word.finish(batch) else None for word, said in zip(words, published, strict=True)],
        is_started=True,
        marked=[ref for ref, _, to in moves if layout.link(to, ref) not in batch.refused],
    )
