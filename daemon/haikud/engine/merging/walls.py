"""The sandbox that a merge's tests run in: the mode that the settings want, tried here, as the daemon tries its own.

Fails with NotMergeable where none that they allow works: what was to be isolated must not run without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from haikud.contracts.settings import Settings
from haikud.engine.merging.choice import NotMergeable, RepositoryChoice
from haikud.sandbox.egress.gate import PROXY_NAMES, open_egress
from haikud.sandbox.egress.hosts import loopback_ports
from haikud.sandbox.egress_seam import PROXY_PORT
from haikud.sandbox.isolation import NO_SANDBOX, Sandbox
from haikud.sandbox.policy import Policy
from haikud.sandbox.probe import probe
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
    ports = set(loopback_ports(chosen.hosts)) - {PROXY_PORT} if chosen.network == "listed" else set()
    policy = Policy(
        mode=found.mode,
        writable=(place.folder,),
        readable=tuple(object_folders(Path(where.common))),
        hidden=(spool_root, *(Path(name).expanduser() for name in settings.secret_files)),
        temporary=place.temporary,
        ports=tuple(sorted(ports)),
        settings=chosen,
    )
    sandbox = Sandbox(policy, open_egress(tell)(policy) if chosen.network != "open" else None)
    try:
        yield sandbox
    finally:
        sandbox.close()


def way_out(environment: Mapping[str, str], sandbox: Sandbox) -> dict[str, str]:
    """The environment with which programs find their way out of the sandbox; other proxies are out of reach there."""
    if sandbox.policy.mode == "none" or sandbox.policy.settings.network == "open":
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in PROXY_NAMES} | sandbox.environment()
