"""The sandbox that a merge's tests run in: the mode that the settings want, tried here, as the daemon tries its own.

Fails with NotMergeable where none that they allow works: what was to be isolated must not run without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from haikud.contracts.settings import Settings
from haikud.engine.merging.choice import NotMergeable, RepositoryChoice
from haikud.sandbox.egress.within import local_ports, open_sandbox
from haikud.sandbox.isolation import NO_SANDBOX, Sandbox
from haikud.sandbox.policy import Policy
from haikud.sandbox.probe import probe
from haikud.sandbox.settings_above import settings_above
from haikud.workspace.borrowed import object_folders
from haikud.workspace.merge_place import MergePlace


@contextmanager
def merge_sandbox(
    place: MergePlace, where: RepositoryChoice, spool_root: Path, settings: Settings, tell: Callable[[str], None]
) -> Iterator[Sandbox]:
    """The walls around one repository's tests: its place to write, git's objects to read. Raises NotMergeable."""
    chosen = settings.sandbox
    found = probe(chosen.mode, chosen)
    why, cure = "; ".join(found.reasons), "; ".join(found.cures)
    if found.mode is None:
        advice = f"{cure or 'see haikud doctor'}; or say `sandbox: {{mode: none}}` in the settings, which holds nothing"
        raise NotMergeable(f"the tests were not run: no sandbox that the settings allow works here: {why}", advice)
    if found.mode == "none":
        yield NO_SANDBOX
        return
    tell(f"sandbox {found.mode}" + (f" ({why})" if why else ""))
    above = settings_above(place.tree) if found.mode == "landlock" else []
    policy = Policy(
        mode=found.mode,
        writable=(place.folder,),
        readable=(*object_folders(Path(where.common)), *above),
        hidden=(spool_root, *(Path(name).expanduser() for name in settings.secret_files)),
        private=(Path(where.common), Path(where.common).parent, place.folder.parent),
        temporary=place.temporary,
        ports=tuple(sorted(local_ports(chosen))),
        settings=chosen,
    )
    sandbox = open_sandbox(policy, tell)
    try:
        yield sandbox
    finally:
        sandbox.close()
