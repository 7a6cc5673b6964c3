"""The machine: what haikud needs of it, as the daemon will find it. Each answer is ok, a note or a fault, and the cure.

Nothing is left behind: what has to be tried (fsync, locks) is tried on a file without a name. The key's value is never
read further than whether there is one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import re
import resource
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.settings import Settings
from haikud.engine.drops.filesystem import silent_filesystem
from haikud.engine.drops.folders import gid_of
from haikud.engine.gateway.credential import CredentialFault, find_credential
from haikud.engine.upkeep.claude_check import check_claude
from haikud.engine.upkeep.findings import Code, Finding, fault, note, ok
from haikud.engine.upkeep.gateway_check import check_gateway
from haikud.engine.upkeep.gh_check import check_gh
from haikud.engine.upkeep.look import Locks
from haikud.engine.upkeep.sandbox_check import check_sandbox
from haikud.spool.claims import boot_id, process_start_time
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.droppers import name_of_group, strangers_bits
from haikud.spool.format import SpoolFormatError, read_format
from haikud.spool.layout import TOP_FOLDERS, SpoolLayout
from haikud.workspace.git import Git, GitError
from haikud.workspace.merging import MERGE_TREE_SINCE

OLDEST_GIT = (2, 31)
"""`rev-parse --path-format` came with it."""

DESCRIPTORS_APART = 64
DESCRIPTORS_PER_AGENT = 4
"""What the daemon has open of itself, and for each agent: its pidfd, its events, its claim while it is settled."""

INOTIFY_NEEDED = 8

SERVICE_USER = "haikud"
"""Whom the system service runs as."""


@dataclass(frozen=True)
class Surroundings:
    """What is asked of outside the spool."""

    settings: Settings
    settings_faults: list[str]  # why the settings cannot be used; the defaults stand in then
    environ: Mapping[str, str]


def check_machine(layout: SpoolLayout, around: Surroundings) -> list[Finding]:
    """Everything, in the order in which a person would ask."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _settings(around),
        _git,
        lambda: check_gh(around.settings, around.environ),
        lambda: check_claude(around.environ),
        lambda: _key(around),
        lambda: _format(layout),
        lambda: _filesystem(layout),
        lambda: _space(layout, around.settings),
        lambda: _writing(layout),
        lambda: check_permissions(layout, around.settings),
        lambda: check_repositories(around.settings),
        _inotify,
        lambda: _descriptors(around.settings),
        lambda: _clock(layout),
        lambda: check_sandbox(layout, around.settings.sandbox),
        lambda: check_gateway(layout),
        lambda: _daemon(layout),
    ]
    return [finding for check in checks for finding in check()]


def _settings(around: Surroundings) -> Iterator[Finding]:
    for text in around.settings_faults:
        yield fault(Code.SETTINGS, text, cure="mend them; docs/haikud.guide.yaml is an example of all there is")
    if not around.settings_faults:
        yield ok(Code.SETTINGS, "the settings load")


def _git() -> Iterator[Finding]:
    try:
        text = Git(None).line("version")
    except GitError as error:
        yield fault(Code.GIT, str(error), cure="install git, and see that it is in the daemon's PATH")
        return
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
        yield fault(Code.GIT, f"{text} is too old", cure="install git 2.31 or newer")
    elif numbers is not None and (int(numbers[1]), int(numbers[2])) < MERGE_TREE_SINCE:
        yield note(Code.GIT, f"{text} cannot `haikud merge`", cure="git 2.38 or newer can; the rest works")
    else:
        yield ok(Code.GIT, text)


def _key(around: Surroundings) -> Iterator[Finding]:
    try:
        found = find_credential(around.environ, around.settings.api.key_file)
    except CredentialFault as error:
        yield fault(
            Code.API_KEY, f"no daemon starts: {error}", cure="mend it, or take api.key_file out of the settings"
        )
        return
    if found is not None:
        yield ok(Code.API_KEY, f"there is a key in {found.where} (the daemon looks in its own environment)")
    else:
        why = "there is no ANTHROPIC_API_KEY here: agents that ask a model fail under a daemon started like this"
        cure = "export it before `haikud run`, or name a file in api.key_file; command agents do without"
        yield note(Code.API_KEY, why, cure=cure)


def _format(layout: SpoolLayout) -> Iterator[Finding]:
    try:
        form = read_format(layout)
    except (SpoolFormatError, OSError) as error:
        yield fault(Code.FORMAT, str(error), layout.format_file, cure="put FORMAT back from a copy")
        return
    if form is None:
        yield fault(Code.FORMAT, "FORMAT is missing", layout.format_file, cure="put FORMAT back from a copy")
    else:
        yield ok(Code.FORMAT, f"format {form.format}, spool {form.spool_id}")


def _filesystem(layout: SpoolLayout) -> Iterator[Finding]:
    silent = silent_filesystem(layout.root)
    root = layout.root.stat().st_dev
    for name in TOP_FOLDERS:
        path = layout.root / name
        if path.is_dir() and path.stat().st_dev != root:
            why = "on another filesystem than the spool: files move between its folders by rename"
            yield fault(Code.FILESYSTEM, why, path, cure="move the whole spool to one filesystem")
    if silent is not None:
        why = f"{silent}: a network filesystem, where events and locks may be missing"
        yield note(Code.FILESYSTEM, why, layout.root, cure="a local disk is better; `watcher: polling` helps")
    else:
        yield ok(Code.FILESYSTEM, f"{_filesystem_type(root)}, all folders on one filesystem", layout.root)


def _filesystem_type(device: int) -> str:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    types = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == wanted]
    return types[-1] if types else "unknown"


def _space(layout: SpoolLayout, settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(layout.root).free
    least = settings.min_free_bytes
    if free < least:
        why = f"{free // 1_048_576} MiB free; below {least // 1_048_576} MiB (min_free_bytes) no work is taken"
        yield fault(Code.FREE_SPACE, why, layout.root, cure="make room; `haikud prune` removes finished plans")
    else:
        yield ok(Code.FREE_SPACE, f"{free // 1_048_576} MiB free", layout.root)


def _writing(layout: SpoolLayout) -> Iterator[Finding]:
    """Try fsync and flock on a file without a name; on the folder where the filesystem has no such files."""
    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    try:
        try:
            descriptor = os.open(layout.root, flags, 0o600)
            os.write(descriptor, b"haikud")
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT}:
                raise
            descriptor = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
        yield fault(
            Code.FSYNC, why, layout.root, cure="see who owns it, and whether its filesystem is full or read-only"
        )
        return
    try:
        yield from _try_fsync(descriptor, layout)
        yield from _try_lock(descriptor, layout)
    finally:
        os.close(descriptor)


def _try_fsync(descriptor: int, layout: SpoolLayout) -> Iterator[Finding]:
    try:
        os.fsync(descriptor)
    except OSError as error:
        cure = "without fsync a power cut loses what was promised: use another filesystem"
        yield fault(Code.FSYNC, f"fsync fails: {error.strerror}", layout.root, cure=cure)
    else:
        yield ok(Code.FSYNC, "fsync works", layout.root)


def _try_lock(descriptor: int, layout: SpoolLayout) -> Iterator[Finding]:
    cure = "claims are locks: use a filesystem that has flock"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        yield fault(Code.LOCKS, f"flock fails: {error.strerror}", layout.root, cure=cure)
        return
    try:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield ok(Code.LOCKS, "flock works", layout.root)
    else:
        yield fault(Code.LOCKS, "a locked file could be locked once more", layout.root, cure=cure)
    finally:
        os.close(again)


def check_permissions(layout: SpoolLayout, settings: Settings) -> Iterator[Finding]:
    """Whose the spool is, and to whom it is open."""
    found = False
    mine, gid = os.geteuid(), gid_of(settings)
    for path in (layout.root, *(layout.root / name for name in TOP_FOLDERS), *_top_files(layout)):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        # A checkout's default spool is a folder like others; what lies in it is closed.
        open_bits = strangers_bits(status, gid) & (0o002 if path == layout.root else 0o007)
        if open_bits:
            found = True
            others = mode & open_bits
            who = "every user of this machine" if others else f"the group {name_of_group(status.st_gid)}"
            why = f"open to {who} (mode {mode:04o}), and the settings name no such group"
            why = f"open to {who} (mode {mode:04o})" if others else why
            yield fault(Code.PERMISSIONS, why, path, cure=f"chmod {'o' if others else 'g'}-rwx {path}, or --repair")
        if mine not in {status.st_uid, 0}:
            found = True
            why = f"belongs to user {status.st_uid}, and you are {mine}"
            yield note(Code.PERMISSIONS, why, path, cure="run the doctor as the daemon's user")
    if not found:
        who = f"group {settings.group} may drop and read" if settings.group else "closed to other users"
        yield ok(Code.PERMISSIONS, who, layout.root)


def check_repositories(settings: Settings) -> Iterator[Finding]:
    """Where others than the daemon's user may drop, what they can have worked in should be said."""
    count = len(settings.repositories)
    if count:
        yield ok(Code.REPOSITORIES, f"plans may name what is in {', '.join(settings.repositories)}")
        return
    why = "plans may name every repository that the daemon's user or root owns"
    try:
        is_service = pwd.getpwuid(os.geteuid()).pw_name == SERVICE_USER
    except KeyError:
        is_service = False
    if settings.group or settings.allowed_uids or is_service:
        yield note(Code.REPOSITORIES, f"{why}, and others than that user may drop", cure="list them in `repositories`")
    else:
        yield ok(Code.REPOSITORIES, why)


def _top_files(layout: SpoolLayout) -> Iterator[Path]:
    yield from (layout.format_file, layout.lock_file, layout.status_file, layout.queue_file, layout.day_spend_file)
    yield layout.role_history_file


def _inotify() -> Iterator[Finding]:
    limits = {}
    for name in ("max_user_instances", "max_user_watches", "max_queued_events"):
        try:
            limits[name] = int(Path(f"/proc/sys/fs/inotify/{name}").read_text(encoding="ascii"))
        except (OSError, ValueError):
            yield note(Code.INOTIFY, "inotify's limits cannot be read", cure="the daemon polls where it has to")
            return
    used = _inotify_instances()
    text = f"{used} of {limits['max_user_instances']} instances in use, {limits['max_user_watches']} watches"
    scarce = limits["max_user_instances"] - used < 2 or limits["max_user_watches"] < INOTIFY_NEEDED
    if scarce:
        cure = "raise fs.inotify.max_user_instances and max_user_watches (sysctl); until then the daemon polls"
        yield note(Code.INOTIFY, f"nearly used up: {text}", cure=cure)
    else:
        yield ok(Code.INOTIFY, text)


def _inotify_instances() -> int:
    """How many inotify instances this user's processes have, as far as they can be seen."""
    count, mine = 0, os.geteuid()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == mine:
                links = (os.fspath(one.readlink()) for one in (process / "fd").iterdir())
                count += sum("inotify" in link for link in links)
        except OSError:
            continue
    return count


def _descriptors(settings: Settings) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = DESCRIPTORS_APART + DESCRIPTORS_PER_AGENT * settings.max_agents
    if soft != resource.RLIM_INFINITY and soft < needed:
        cure = f"ulimit -n {needed}, or lower max_agents"
        yield note(Code.DESCRIPTORS, f"{soft} descriptors for {settings.max_agents} agents", cure=cure)
    else:
        yield ok(Code.DESCRIPTORS, f"{soft} descriptors")


def _clock(layout: SpoolLayout) -> Iterator[Finding]:
    try:
        readable = bool(boot_id()) and process_start_time(os.getpid()) is not None
    except OSError:
        readable = False
    if not readable:
        cure = "mount /proc: a pid alone cannot tell a runner from a later process"
        yield fault(Code.BOOT_ID, "/proc tells neither the boot id nor when processes started", cure=cure)
    else:
        yield ok(Code.BOOT_ID, "boot id and start times can be read", layout.root)


def _daemon(layout: SpoolLayout) -> Iterator[Finding]:
    pid = daemon_pid(layout)
    try:
        status = layout.lock_file.stat()
    except FileNotFoundError:
        yield ok(Code.DAEMON, "no daemon runs; none ever did", layout.lock_file)
        return
    locked = Locks().hold(status)
    if pid is not None:
        yield ok(Code.DAEMON, f"the daemon with pid {pid} serves the spool", layout.lock_file)
    elif locked:
        why = "daemon.lock is held, and does not say by whom"
        yield note(Code.DAEMON, why, layout.lock_file, cure="`haikud run` says whether the spool is taken")
    else:
        yield ok(Code.DAEMON, "no daemon runs", layout.lock_file)
