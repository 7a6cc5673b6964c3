"""What the account allows: headers of every kind, the estimate of what is left, and what an answer means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haikud.contracts.settings import ApiSettings
from haikud.gateway.headers import LONGEST_PAUSE, Measure, Window, read_retry_after, read_windows
from haikud.gateway.limits import Need, View, backoff, judge, pause_words, probe_wait, unreachable_words

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
NOW = 1000.0
API = ApiSettings()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT", "date": "Mon, 23 Nov 2026 12:00:10 GMT"}, 20.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, LONGEST_PAUSE),
        ({"retry-after": "20, 30"}, None),
        ({"retry-after": ""}, None),
        ({"anthropic-ratelimit-unified-reset": str(int(NOON.timestamp()) + 600)}, 600.0),
        ({}, None),
    ],
)
def test_how_long_the_api_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers, NOON) == seconds


def told(limit: object, remaining: object, reset: object, measure: str = "requests") -> dict[str, str]:
    start = f"anthropic-ratelimit-{measure}-"
    return {f"{start}limit": str(limit), f"{start}remaining": str(remaining), f"{start}reset": str(reset)}


def test_limits_are_read_as_the_api_writes_them() -> None:
    headers = {
        **told(1000, 999, "2026-11-23T12:00:00.06Z"),
        **told(80_000, 20_000, "2026-11-23T12:00:45Z", "input-tokens"),
        **told(16_000, 16_000, "2026-11-23T12:00:00Z", "output-tokens"),
        **told(96_000, 36_000, "2026-11-23T13:00:45+01:00", "tokens"),
    }
    windows = read_windows(headers, NOW, NOON)
    assert set(windows) == {Measure.REQUESTS, Measure.INPUT, Measure.TOKENS}, "a reset that is past limits nothing"
    assert windows[Measure.INPUT].reset_at == windows[Measure.TOKENS].reset_at == NOW + 45
    assert windows[Measure.INPUT].left(NOW + 15) == 40_000, "it comes back evenly"
    assert windows[Measure.INPUT].left(NOW + 45) == 80_000


def test_a_clock_of_ours_that_is_wrong_does_not_matter() -> None:
    headers = {**told(50, 0, "2026-11-23T12:00:10Z"), "date": "Mon, 23 Nov 2026 12:00:00 GMT"}
    assert read_windows(headers, NOW, NOON + timedelta(days=3))[Measure.REQUESTS].reset_at == NOW + 10


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [
        (50, 51, "2026-11-23T12:00:10Z"),  # more than there is
        (50, -1, "2026-11-23T12:00:10Z"),
        (0, 0, "2026-11-23T12:00:10Z"),
        (50, 3, "2026-11-23T11:59:59Z"),  # stale
        (50, 3, "2026-11-24T12:00:00Z"),  # not a limit per minute
        (50, 3, "soon"),
        (50, "nan", "2026-11-23T12:00:10Z"),
        ("inf", 3, "2026-11-23T12:00:10Z"),
        ("", "", ""),
    ],
)
def test_what_makes_no_sense_limits_nothing(limit: object, remaining: object, reset: object) -> None:
    assert read_windows(told(limit, remaining, reset), NOW, NOON) == {}


odd = st.one_of(
    st.text("0123456789.,:+-TZeE_ nfia\u0663\xa0", max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S} GMT"),
    st.sampled_from(
        [
            "2026-11-23T12:00:10Z",
            "2026-11-23T12:00:10+99:00",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "50",
            "3",
        ]
    ),
)
names = st.sampled_from(
    ["retry-after", "retry-after-ms", "date", "anthropic-ratelimit-unified-reset", "Retry-After"]
    + [f"anthropic-ratelimit-{measure}-{part}" for measure in Measure for part in ("limit", "remaining", "reset")]
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(names, odd), st.integers(0, 10**9), st.floats(0, 4000))
def test_no_headers_break_it_or_make_a_call_wait_beyond_the_reset(
    headers: dict[str, str], tokens: int, later: float
) -> None:
    asked = read_retry_after(headers, NOON)
    assert asked is None or 0 < asked <= LONGEST_PAUSE
    windows = read_windows(headers, NOW, NOON)
    view = View()
    view.hear(windows, 1)
    for order in (2, 3):
        view.send(order, Need(tokens), NOW)
    ready = view.ready_at(Need(tokens), NOW + later)
    assert NOW + later <= ready <= max(NOW + later, *(one.reset_at for one in windows.values()), NOW)
    setback = judge(429, None, retry_after=asked, windows=windows, refused=1, overloads=0, api=API)
    assert setback is not None
    assert 0 < setback.seconds <= LONGEST_PAUSE
    assert setback.detail


def view_of(limit: float, remaining: float, seconds: float, measure: Measure = Measure.REQUESTS) -> View:
    view = View()
    view.hear({measure: Window(limit, remaining, (limit - remaining) / seconds, NOW, NOW + seconds)}, 1)
    return view


def test_nothing_is_slowed_down_while_there_is_plenty() -> None:
    view = view_of(50, 40, 12)
    for order in range(2, 30):
        assert view.ready_at(Need(), NOW) == NOW
        view.send(order, Need(), NOW)


def test_the_last_tenth_is_spent_evenly() -> None:
    view = view_of(50, 4, 60)
    view.send(2, Need(), NOW)
    gap = view.ready_at(Need(), NOW) - NOW
    assert 0.5 < gap <= 60 / 3
    assert view.ready_at(Need(), NOW + gap) == NOW + gap


def test_an_answer_to_an_earlier_call_does_not_undo_a_later_ones() -> None:
    view = View()
    now_empty = {Measure.REQUESTS: Window(50, 0, 1.0, NOW, NOW + 50)}
    view.hear(now_empty, 7)
    view.hear({Measure.REQUESTS: Window(50, 50, 0.0, NOW, NOW + 50)}, 6)
    assert view.ready_at(Need(), NOW) == NOW + 1


def test_calls_that_an_answer_cannot_have_counted_are_taken_off() -> None:
    view = View()
    view.send(1, Need(1_000), NOW)
    view.send(2, Need(30_000), NOW)
    view.hear({Measure.INPUT: Window(50_000, 49_000, 100.0, NOW, NOW + 10)}, 1)
    assert view.ready_at(Need(20_000), NOW) == NOW + 10, "30,000 of the 49,000 are gone already"


def test_output_that_is_used_up_is_waited_for() -> None:
    assert view_of(8_000, 0, 60, Measure.OUTPUT).ready_at(Need(5), NOW) == pytest.approx(NOW + 7.5)


@pytest.mark.parametrize(
    ("status", "error_type", "kind", "seconds", "for_all", "again"),
    [
        (200, None, None, 0, False, False),
        (400, "invalid_request_error", None, 0, False, False),
        (500, "api_error", None, 0, False, False),
        (429, "rate_limit_error", "rate_limit", 2, True, True),
        (529, "overloaded_error", "overloaded", 2, False, True),
        (503, "overloaded_error", "overloaded", 2, False, True),
        (402, "billing_error", "billing", 300, True, False),
    ],
)
def test_what_an_answer_means(
    status: int, error_type: str | None, kind: str | None, seconds: float, for_all: bool, again: bool
) -> None:
    setback = judge(status, error_type, retry_after=None, windows={}, refused=1, overloads=0, api=API)
    if setback is None:
        assert kind is None
    else:
        assert (setback.kind, setback.seconds, setback.for_all, setback.again) == (kind, seconds, for_all, again)


def test_a_429_without_retry_after_waits_for_the_limit_that_is_used_up() -> None:
    empty = {Measure.INPUT: Window(50_000, 0, 1000.0, NOW, NOW + 50)}
    setback = judge(429, "rate_limit_error", retry_after=None, windows=empty, refused=1, overloads=0, api=API)
    assert setback is not None
    assert setback.seconds == 50
    assert setback.detail.endswith("input tokens used up (0 of 50,000 left)")


def test_the_apis_own_words_are_the_reason() -> None:
    told = {"retry_after": 20.0, "windows": {}, "refused": 1, "overloads": 0, "api": API}
    setback = judge(429, "rate_limit_error", message="This would exceed\n50,000 input tokens per minute.", **told)
    assert setback is not None
    assert (
        setback.detail
        == "the API's rate limit (429 rate_limit_error): This would exceed 50,000 input tokens per minute"
    )
    setback = judge(402, "billing_error", **told)
    assert setback is not None
    assert setback.detail.endswith("(402 billing_error): look at its credit and its spending limits")


def test_waits_double_up_to_what_a_call_may_wait() -> None:
    assert [backoff(number, API) for number in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]
    assert backoff(1, ApiSettings(retry_waits=[])) == 2
    assert backoff(10_000, API) == 60


def test_words_for_people() -> None:
    end = NOON + timedelta(seconds=5)
    assert (
        pause_words("rate_limit", "the API's rate limit (429)", end, NOON)
        == "the API's rate limit (429); goes on at 12:00:05 UTC"
    )
    assert pause_words("billing", "no", NOON + timedelta(days=1), NOON) == "no; tried again at 2026-11-24 12:00:00 UTC"
    assert unreachable_words(ConnectionRefusedError(111, "refused")) == "the API cannot be reached (refused)"
    assert unreachable_words(TimeoutError()) == "the API cannot be reached (TimeoutError)"
    assert len(unreachable_words("x\n" * 1000)) < 300


def test_looks_for_the_api_become_rarer() -> None:
    assert [probe_wait(number) for number in range(8)] == [2, 4, 8, 16, 32, 60, 60, 60]
