"""Setting dropped files aside: into rejected/ with the reason, and for a request with an answer.

The order makes every step repeatable: the file gets its place in rejected/ and keeps its taken name; the reason, with
the file's token, is made durable; a request's answer is published; then the taken name goes. Recovery drops a taken
file whose token is in a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from haikud.contracts.base import utc_now
from haikud.contracts.error_report import FieldFault
from haikud.contracts.rejection import SetAside
from haikud.engine.admission.rejection import Rejected, rejected_response
from haikud.spool.aside import REASON_SUFFIX, reason_path
from haikud.spool.drops import DropFolder, OddEntry, Taken
from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, dump, read_model
from haikud.spool.publish import write_rejection

Folder = Literal["incoming", "guidance", "control"]


def set_aside(layout: SpoolLayout, drops: DropFolder, folder: Folder, taken: Taken | OddEntry, reason: str) -> str:
    """Set a guidance or control file aside; its name in rejected/."""
    stored = drops.set_aside(taken, layout.rejected, keep_taken=True)
    _write_reason(layout, folder, taken, stored, reason)
    drops.finish(taken)
    return stored


def reject_request(layout: SpoolLayout, drops: DropFolder, taken: Taken | OddEntry, rejected: Rejected) -> str:
    """Set a request aside and answer it; the answer's name in responses/."""
    stored = drops.set_aside(taken, layout.rejected, keep_taken=True)
    answered_as = write_rejection(layout, rejected.plan_id, rejected_response(rejected, now=utc_now()))
    _write_reason(layout, "incoming", taken, stored, rejected.reason, answered_as, rejected.faults)
    drops.finish(taken)
    return answered_as


def recorded_tokens(layout: SpoolLayout) -> set[str]:
    """The tokens of all files that were set aside with a reason."""
    tokens: set[str] = set()
    for path in layout.rejected.glob(f"*{REASON_SUFFIX}"):
        try:
            found = read_model(path, SetAside)
        except UnreadableFile:
            continue
        if found is not None:
            tokens.add(found.token)
    return tokens


def _write_reason(
    layout: SpoolLayout,
    folder: Folder,
    taken: Taken | OddEntry,
    stored: str,
    reason: str,
    answered_as: str | None = None,
    faults: Sequence[FieldFault] = (),
) -> None:
    record = SetAside(
        at=utc_now(),
        folder=folder,
        name=taken.name,
        stored_as=stored,
        token=taken.token,
        reason=reason,
        answered_as=answered_as,
        faults=list(faults),
    )
    write_durably(reason_path(layout.rejected, stored), dump(record))
