"""`FORMAT`: which on-disk format a spool has, and its identity."""

from __future__ import annotations

from pydantic import Field

from haikud.contracts.base import Model

SPOOL_FORMAT = 1


class SpoolFormat(Model):
    """A newer format is refused, an older one read or migrated."""

    format: int = Field(SPOOL_FORMAT, ge=1)
    spool_id: str  # UUID: the owner that repositories record
