"""Times and the strictness that every model shares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from haikud.contracts.base import Model, Timestamp, format_time, utc_now


class Moment(Model):
    at: Timestamp
    count: int = 0


def test_times_are_written_as_the_guide_writes_them():
    assert format_time(datetime(2025, 10, 21, 10, 30, tzinfo=UTC)) == "2025-10-21T10:30:00Z"
    assert format_time(datetime(2025, 10, 21, 10, 30, 0, 7999, tzinfo=UTC)) == "2025-10-21T10:30:00.007Z"
    east = timezone(timedelta(hours=2))
    assert format_time(datetime(2025, 10, 21, 12, 30, tzinfo=east)) == "2025-10-21T10:30:00Z"


def test_times_are_read_in_any_zone_and_kept_in_utc():
    moment = Moment.model_validate_json('{"at": "2025-10-21T12:30:00+02:00"}')
    assert moment.at == datetime(2025, 10, 21, 10, 30, tzinfo=UTC)
    assert moment.at.tzinfo == UTC
    assert moment.model_dump_json() == '{"at":"2025-10-21T10:30:00Z","count":0}'


def test_a_time_without_a_zone_is_no_time():
    with pytest.raises(ValidationError):
        Moment.model_validate_json('{"at": "2025-10-21T12:30:00"}')


@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - made aware below
def test_a_time_survives_the_disk_to_the_millisecond(naive: datetime):
    at = naive.replace(tzinfo=UTC, microsecond=naive.microsecond // 1000 * 1000)
    assert Moment.model_validate_json(Moment(at=at).model_dump_json()).at == at


def test_now_is_what_goes_to_disk():
    now = utc_now()
    assert now.tzinfo == UTC
    assert now.microsecond % 1000 == 0
    assert Moment.model_validate_json(Moment(at=now).model_dump_json()).at == now


def test_reading_ignores_unknown_fields_and_refuses_wrong_types():
    assert Moment.model_validate_json('{"at": "2025-10-21T10:30:00Z", "new": 1}').count == 0
    with pytest.raises(ValidationError):
        Moment.model_validate_json('{"at": "2025-10-21T10:30:00Z", "count": "many"}')
    with pytest.raises(ValidationError):
        Moment.model_validate_json('{"at": "2025-10-21T10:30:00Z", "count": NaN}')


def test_records_do_not_change():
    moment = Moment(at=utc_now())
    with pytest.raises(ValidationError):
        moment.count = 5  # type: ignore[misc]
