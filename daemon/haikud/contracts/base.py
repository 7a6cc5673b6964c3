"""What every model shares: strictness, times and the few scalar types.

Reading is tolerant of unknown fields (an older daemon may read what a newer runner wrote, and the reverse) and
strict about types. Settings are the exception: there an unknown key is an error (`settings.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, PlainSerializer

from haikud.contracts.times import format_time, utc_now

__all__ = ["JsonObject", "Model", "Timestamp", "format_time", "utc_now"]


class Model(BaseModel):
    """An immutable record. Unknown fields are ignored on reading; wrong types are errors."""

    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="null", allow_inf_nan=False)


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_to_utc),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
"""A point in time, always UTC; on disk RFC 3339 with `Z`."""

JsonObject = dict[str, Any]
"""A JSON object whose fields the contract does not fix."""
