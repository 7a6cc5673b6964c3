"""Which walls the machine can put up: tried for real, here and where user namespaces are refused for real."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.sandbox.test_walls import WALLS

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox import probe as probing
from haikud.sandbox.landlock import landlock_abi
from haikud.sandbox.probe import apparmor_profile, probe

PROBE = "from haikud.sandbox.probe import probe; import sys; print(*probe(sys.argv[1]).__dict__.values(), sep='\\n')"
NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'


@pytest.mark.parametrize("mode", WALLS)
def test_walls_that_work_are_found_by_putting_them_up(mode: str):
    assert probe(mode) == probing.Probed(mode)


@pytest.mark.parametrize("mode", WALLS)
@pytest.mark.parametrize("opened", ["readable", "writable"])
def test_settings_that_open_the_folder_of_the_try_are_no_fault_of_the_walls(mode: str, opened: str):
    settings = SandboxSettings.model_validate({opened: [tempfile.gettempdir()]})
    assert probe(mode, settings) == probing.Probed(mode)


def in_container(wanted: str) -> list[str]:
    """What is found where, as in a container, no more user namespaces can be made: mode, reasons, cures."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("bwrap") is None:
        pytest.skip("needs unshare and bubblewrap")
    argv = [unshare, "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES, "sh", sys.executable, "-c", PROBE, wanted]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("user namespaces are refused on this machine too")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(landlock_abi() < 1, reason="this kernel has no Landlock")
def test_where_no_user_namespaces_can_be_made_it_is_landlock_with_the_reason_and_the_cure():
    mode, reasons, cures = in_container("auto")
    assert mode == "landlock"
    assert "bwrap: " in reasons
    assert "namespace" in reasons
    assert "sysctl -w user.max_user_namespaces=" in cures


def test_what_is_asked_for_by_name_is_never_replaced():
    mode, reasons, cures = in_container("bwrap")
    assert mode == "None"
    assert "bwrap: " in reasons
    assert ("would be landlock here" in cures) == (landlock_abi() >= 1)  # said, and not done


def test_what_somebody_chose_to_do_without_is_not_tried():
    assert probe("none") == probing.Probed("none")


def test_the_profile_for_apparmor_names_the_program():
    assert "profile bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n" in apparmor_profile("/usr/bin/bwrap")


def test_each_cause_has_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = {
        "/proc/sys/user/max_user_namespaces": 1000,
        "/proc/sys/kernel/unprivileged_userns_clone": 0,
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": 1,
    }
    monkeypatch.setattr(probing, "_number", told.get)
    monkeypatch.setattr(probing, "_is_filtered", lambda: True)
    monkeypatch.setattr(probing, "find_bwrap", lambda: "/usr/bin/bwrap")
    monkeypatch.setattr(probing, "why_not", lambda *_: "Can't mount proc on /newroot/proc")
    cures = " | ".join(probe("bwrap").cures)
    for word in ("unprivileged_userns_clone=1", "AppArmor profile", "systempaths=unconfined", "seccomp filter"):
        assert word in cures
    assert "max_user_namespaces" not in cures
    monkeypatch.setattr(probing, "find_bwrap", lambda: None)
    assert "install bubblewrap" in probe("bwrap").cures[0]
