"""Checking a request with admission's own rules before it is dropped, and completing it on the way.

The rules are the daemon's, but roles, templates and defaults come from the settings that this command finds, which
are the daemon's only where both look in the same places. Raises `Trouble` with every fault; nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haikud.contracts.names import id_from_stem
from haikud.contracts.times import utc_now
from haikud.engine.admission.documents import SUFFIXES, DocumentError, parse_document
from haikud.engine.admission.prepare import prepare_plan
from haikud.engine.admission.rejection import Rejected, describe_fault
from haikud.interfaces.completing import names_repository, with_id, with_repository
from haikud.interfaces.dropping import random_suffix
from haikud.interfaces.given import CannotBeAdmitted, Given, place_of
from haikud.interfaces.looking import read_json
from haikud.interfaces.plain import one_line
from haikud.interfaces.trouble import Trouble
from haikud.roles.catalogue import find_roles
from haikud.roles.files import RoleError

if TYPE_CHECKING:
    from haikud.contracts.error_report import FieldFault
    from haikud.contracts.plan import Plan
    from haikud.contracts.settings import Settings
    from haikud.spool.layout import SpoolLayout

_TOKEN = "0" * 16  # of a taken file; there is none yet


@dataclass(frozen=True)
class Checked:
    """A request that can be dropped: its bytes, the suffix they want, and the plan that they make."""

    plan: Plan
    data: bytes
    suffix: str


def check_request(
    given: Given, *, layout: SpoolLayout, settings: Settings, repository: Path | None, here: Path
) -> Checked:
    """Complete and check a request; `here` is the folder whose checkout is the default."""
    data, name = given.data, given.name
    if len(data) > settings.max_request_bytes:
        raise Trouble(
            f"{name} has {len(data)} bytes; a request has at most {settings.max_request_bytes}",
            advice="name files instead of including them, or split the plan",
        )
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        suffix = _sniffed(data)
    plan_id = f"{id_from_stem(Path(name).stem)}-{random_suffix()}"  # for a request that states none
    try:
        document = parse_document(
            data,
            f"{plan_id}{suffix}",
            most_depth=settings.max_request_depth,
            most_nodes=settings.max_request_nodes,
        )
    except DocumentError as error:
        raise _faulty(given, error.faults) from None
    root = _repository_for(document, repository, here)
    completed = document if root is None or not isinstance(document, dict) else with_repository(document, root)
    plan = _prepared(_bytes_of(completed, document, data), plan_id, suffix, given, layout=layout, settings=settings)
    if plan.id == plan_id:
        completed = with_id(completed, plan_id)
    final = _bytes_of(completed, document, data)
    if completed is not document:
        suffix = ".json"
        plan = _prepared(final, plan_id, suffix, given, layout=layout, settings=settings)
    return Checked(plan, final, suffix)


def is_same_as_known(layout: SpoolLayout, checked: Checked) -> bool:
    """Whether the very same request was admitted already; `Trouble` where another one has its id."""
    known = read_json(layout.plan(checked.plan.id).plan)
    if known is None and not os.path.lexists(layout.pruned / checked.plan.id):
        return False
    if known is not None and known.get("content_sha256") == hashlib.sha256(checked.data).hexdigest():
        return True
    raise Trouble(
        f"the id {checked.plan.id} is used already, by another request",
        advice=f"choose another id; `haikud retry {checked.plan.id}` runs a failed task again",
    )


def _sniffed(data: bytes) -> str:
    """`.json` where the first character of text says so; all JSON starts an object like that, most YAML does not."""
    return ".json" if data.lstrip()[:1] in {b"{", b"["} else ".yaml"


def _bytes_of(completed: Any, document: Any, data: bytes) -> bytes:
    """The bytes to drop: those given where nothing was added, else JSON."""
    if completed is document:
        return data
    return (json.dumps(completed, indent=2, ensure_ascii=False) + "\n").encode()


def _prepared(data: bytes, plan_id: str, suffix: str, given: Given, *, layout: SpoolLayout, settings: Settings) -> Plan:
    try:
        catalogue = find_roles(Path(settings.roles_dir) if settings.roles_dir else None)
    except RoleError as error:
        raise Trouble(f"the roles cannot be read: {error}", advice="mend that file; the daemon needs it too") from None
    try:
        return prepare_plan(
            data,
            f"{plan_id}{suffix}",
            _TOKEN,
            settings=settings,
            spool_root=layout.root,
            now=utc_now(),
            catalogue=catalogue,
            is_taken=lambda _: False,  # ends in random letters
        )
    except Rejected as rejected:
        raise _faulty(given, rejected.faults, left_out=rejected.left_out) from None


def _repository_for(document: Any, wanted: Path | None, here: Path) -> str | None:
    """The repository to fill in; None where the request names one, or `here` lies in none. Admission asks git."""
    if wanted is not None:
        return str(here / wanted.expanduser())
    if names_repository(document):
        return None
    return next((str(folder) for folder in (here, *here.parents) if os.path.lexists(folder / ".git")), None)


def _faulty(given: Given, found: list[FieldFault], *, left_out: int = 0) -> Trouble:
    faults = [one.model_copy(update={"field": place_of(one.field, given.places)}) for one in found]
    told = [one_line(describe_fault(fault)) for fault in faults]
    if left_out:
        told.append(f"... and {left_out} more")
    return CannotBeAdmitted(
        "\n  ".join([f"{given.name} cannot be admitted; nothing was dropped:", *told]),
        faults,
        advice="mend it and submit it again (roles, templates and defaults: --config names the daemon's settings)",
    )
