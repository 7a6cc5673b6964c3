"""What a dead attempt has spent: every call counts once, one without an end as the most it can have cost."""

from __future__ import annotations

from pathlib import Path

from haikud.contracts.base import utc_now
from haikud.contracts.transcript import LineKind, TranscriptLine
from haikud.contracts.usage import UsageEntry
from haikud.spool.models import dump_line
from haikud.spool.spending import spent_by_transcript


def used(tokens: int, model: str = "m") -> UsageEntry:
    return UsageEntry(at=utc_now(), model=model, input_tokens=tokens, cost_usd=tokens / 1000)


def write(path: Path, *lines: tuple[int, LineKind, UsageEntry | None]) -> None:
    rows = [TranscriptLine(at=utc_now(), attempt=n, kind=kind, usage=usage) for n, kind, usage in lines]
    path.write_bytes(b"".join(map(dump_line, rows)))


def spent(path: Path, attempt: int = 1) -> tuple[int, int]:
    total, by_model = spent_by_transcript(path, attempt)
    assert sum(one.tokens_used for one in by_model.values()) == total.tokens_used
    return total.requests, total.tokens_used


def test_no_transcript_is_no_money(tmp_path: Path):
    assert spent(tmp_path / "transcript.jsonl") == (0, 0)


def test_calls_count_by_their_ends_and_by_attempt(tmp_path: Path):
    path = tmp_path / "transcript.jsonl"
    write(
        path,
        (1, LineKind.CALL, used(900)),
        (1, LineKind.ASSISTANT, used(10)),
        (1, LineKind.CALL, used(900)),
        (1, LineKind.PAID, used(3)),
        (1, LineKind.CALL, used(900)),
        (1, LineKind.PAID, None),
        (1, LineKind.CALL, used(900)),
        (1, LineKind.REFUSED, used(5)),
        (2, LineKind.CALL, used(900)),
        (2, LineKind.ASSISTANT, used(7)),
    )
    assert spent(path) == (3, 18)
    assert spent(path, 2) == (1, 7)


def test_a_call_that_was_under_way_counts_as_the_most_it_can_cost(tmp_path: Path):
    path = tmp_path / "transcript.jsonl"
    write(path, (1, LineKind.ASSISTANT, used(10)), (1, LineKind.CALL, used(900)), (2, LineKind.ATTEMPT, None))
    assert spent(path) == (2, 910)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])  # torn: as if it had never been written
    assert spent(path) == (2, 910)


def test_a_line_that_broke_leaves_its_call_without_an_end(tmp_path: Path):
    path = tmp_path / "transcript.jsonl"
    write(path, (1, LineKind.CALL, used(900)), (1, LineKind.ASSISTANT, used(10)), (1, LineKind.CALL, used(800)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * 20 + b"\n" + lines[2])
    assert spent(path) == (2, 1700)
