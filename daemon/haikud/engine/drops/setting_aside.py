"""Setting dropped files aside: into rejected/ with the reason, and for a request with an answer.

The order makes every step repeatable, and the reason, which bears the file's token, the word that counts: the file gets
its place in rejected/ and keeps its taken name; a request's answer is written under a dot-name; the reason is made
durable; the answer gets its name in responses/; then the taken name goes. A crash before the reason leaves a request on
which nothing was said; after it, what is missing is made up without asking again whether the request is good.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from haikud.contracts.base import utc_now
from haikud.contracts.error_report import FieldFault
from haikud.contracts.rejection import SetAside
from haikud.engine.admission.rejection import Rejected, printable, rejected_response
from haikud.spool.aside import REASON_SUFFIX, candidates, leave_folder, place_aside, reason_path
from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, dump, read_model
from haikud.spool.publish import publish_rejection, rejection_name, unpublished_rejections, write_rejection
from haikud.spool.taken import OddEntry, Taken

Folder = Literal["incoming", "guidance", "control"]


def set_aside(layout: SpoolLayout, folder: Folder, taken: Taken | OddEntry, reason: str) -> str:
    """Set a guidance or control file aside; its name in rejected/. May be repeated."""
    record = _record_of(layout, taken.name, taken.token)
    if record is None:
        record = _record(layout, folder, taken, reason)
    return finish_setting_aside(layout, record, taken.path).stored_as


def reject_request(layout: SpoolLayout, taken: Taken | OddEntry, rejected: Rejected) -> str:
    """Set a request aside and answer it; the answer's name in responses/. May be repeated."""
    record = _record_of(layout, taken.name, taken.token)
    if record is None:
        write_rejection(layout, taken.token, rejected_response(rejected, now=utc_now()))
        answered_as = rejection_name(layout, rejected.plan_id, None if rejected.states_id else rejected.name)
        record = _record(layout, "incoming", taken, rejected.reason, answered_as, rejected.faults)
    return finish_setting_aside(layout, record, taken.path).answered_as or ""


def finish_setting_aside(layout: SpoolLayout, record: SetAside, path: Path) -> SetAside:
    """Do what is left to do once the reason is recorded; the record as it is then. `path` is the taken file."""
    answered_as = record.answered_as
    if answered_as is not None:
        answered_as = publish_rejection(layout, record.token, answered_as)
    if answered_as != record.answered_as:
        record = record.model_copy(update={"answered_as": answered_as})
        _write(layout, record, record.stored_as)
    lies_in = leave_folder(path, record.stored_as, record.token, layout.rejected)
    if lies_in != record.stored_as:
        record, stored = record.model_copy(update={"stored_as": lies_in}), record.stored_as
        _write(layout, record, stored)
    return record


def recorded_reasons(layout: SpoolLayout) -> dict[str, SetAside]:
    """The reasons of all files that were set aside, by token."""
    found: dict[str, SetAside] = {}
    for path in layout.rejected.glob(f"*{REASON_SUFFIX}"):
        record = _read(path)
        if record is not None:
            found[record.token] = record
    return found


def tokens_done(layout: SpoolLayout) -> set[str]:
    """The tokens of files of which only the taken name may be left: they lie in rejected/, and were answered."""
    waiting = unpublished_rejections(layout)
    return {
        token
        for token, record in recorded_reasons(layout).items()
        if token not in waiting and os.path.lexists(layout.rejected / record.stored_as)
    }


def _record_of(layout: SpoolLayout, name: str, token: str) -> SetAside | None:
    """The reason that an earlier, interrupted call has recorded for this very file."""
    for stored in candidates(name, token):
        record = _read(reason_path(layout.rejected, stored))
        if record is not None and record.token == token:
            return record
    return None


def _record(
    layout: SpoolLayout,
    folder: Folder,
    taken: Taken | OddEntry,
    reason: str,
    answered_as: str | None = None,
    faults: Sequence[FieldFault] = (),
) -> SetAside:
    stored = place_aside(taken.path, taken.name, taken.token, layout.rejected)
    record = SetAside(
        at=utc_now(),
        folder=folder,
        name=taken.name.encode("utf-8", "backslashreplace").decode(),
        stored_as=stored,
        token=taken.token,
        reason=printable(reason),
        answered_as=answered_as,
        faults=list(faults),
    )
    _write(layout, record, stored)
    return record


def _read(path: Path) -> SetAside | None:
    try:
        return read_model(path, SetAside)
    except UnreadableFile:
        return None


def _write(layout: SpoolLayout, record: SetAside, stored: str) -> None:
    write_durably(reason_path(layout.rejected, stored), dump(record))
