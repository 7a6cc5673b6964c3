"""What is booked for an answer whose client hung up."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.gateway_here import MODEL
from tests.support.gateway_process import a_token

from haikud.contracts.base import utc_now
from haikud.costs.prices import PriceList
from haikud.gateway.bill import Bill
from haikud.gateway.books import Books
from haikud.gateway.budget import Grant
from haikud.spool.layout import SpoolLayout

BEGIN = {"type": "message_start", "message": {"usage": {"input_tokens": 50, "output_tokens": 1}}}
THINKING = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
SEEN = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "word " * 60}}
SIGNED = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}}
END = {"type": "content_block_stop", "index": 0}
TEXT = {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}


@pytest.mark.parametrize(
    ("events", "least", "most"),
    [
        ([BEGIN, None], 2_000, 4_000),
        ([BEGIN, THINKING, None], 2_000, 4_000),
        ([BEGIN, THINKING, None, SIGNED, END, TEXT], 2_000, 4_000),
        ([BEGIN, None, THINKING, SIGNED, END, TEXT], 2_000, 4_000),
        ([BEGIN, THINKING, None, None, None, END, TEXT], 5_000, 5_000),
        ([BEGIN, THINKING, SEEN, None, SIGNED, END, TEXT], 100, 100),
        ([BEGIN, TEXT, None], 1, 1),
    ],
)
async def test_thinking_that_is_not_shown_is_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any] | None], least: int, most: int
):
    """None: seven seconds pass."""
    paths, prices, now = SpoolLayout(tmp_path).gateway, PriceList(), time.monotonic()
    paths.folder.mkdir(parents=True)
    books, token = Books(paths), a_token("plan.one", task_usd=1)[1]
    monkeypatch.setattr("haikud.gateway.bill.time", SimpleNamespace(monotonic=lambda: now))
    call = await books.reserve(
        token, prices.price_message(MODEL, {"input_tokens": 50, "output_tokens": 5_000}, utc_now())
    )
    assert call is not None
    bill = Bill(books, prices, Grant(call, 5_000, False, 50, 50, 0.0), lambda: None)
    for event in events:
        if event is None:
            now += 7
        else:
            bill.hear(b"data: " + json.dumps(event).encode() + b"\n\n")
    bill.settle()
    (entry,) = books.account(token).entries
    assert entry.estimated
    assert least <= entry.output_tokens <= most
