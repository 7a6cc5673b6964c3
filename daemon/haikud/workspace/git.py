"""The one way in which haikud runs git.

Promises: an environment built from nothing, hooks, fsmonitor, signing, pagers and automatic maintenance off, never a
question to a terminal, a time limit, and what workspace/processes.py promises. Fails with `GitError`, which carries
the command, exit code and stderr.

Where a git folder is known it is always passed (`--git-dir`); only `repository.py` lets git discover one.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from haikud.workspace.processes import Running

READ_SECONDS = 120.0
WRITE_SECONDS = 900.0  # a checkout of a very large repository, with its filters
NETWORK_SECONDS = 900.0

_NO_ROOM_BYTES = 262_144

_SAFE_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.quotePath=false",
    "core.pager=cat",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "core.fsync=all",  # a power cut must not take what a durable result names; see durability.py for the folders
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "diff.ignoreSubmodules=all",
    "safe.directory=*",  # admission has looked at whose the repository is, and the settings may list another's
)

_SAFE_ARGUMENTS = tuple(part for setting in _SAFE_SETTINGS for part in ("-c", setting))

# Proxies and certificates: a filter of the user's own configuration (git-lfs) may download during a checkout.
# HAIKUD_OUT marks what belongs to an attempt, so that a git call of a runner that died is found and ended with it.
_PASSED_NAMES = (
    *("PATH", "HOME", "XDG_CONFIG_HOME", "HAIKUD_OUT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class WorkspaceError(Exception):
    """Something about a repository, branch or worktree is not as it must be. `code` is a constant for reports."""

    code = "WORKSPACE_ERROR"


class GitError(WorkspaceError):
    """A git command failed, could not start or took too long (then `exit_code` is None)."""

    code = "GIT_ERROR"

    def __init__(self, message: str, command: str, exit_code: int | None, stderr: str) -> None:
        super().__init__(message)
        self.command = command
        self.exit_code = exit_code
        self.stderr = stderr


class GitKilled(GitError):  # noqa: N818 - says what is the case
    """git died of a signal, so it said neither yes nor no: the same command may succeed. Nobody was told to end it."""

    code = "GIT_KILLED"


class AsksGit(Exception):  # noqa: N818 - says what is the case
    """Git would have to be started where nobody may wait for it."""


_here = threading.local()


@contextmanager
def no_git() -> Iterator[None]:
    """In here, on this thread, git is not started: AsksGit is raised, which is no WorkspaceError."""
    _here.is_forbidden = True
    try:
        yield
    finally:
        _here.is_forbidden = False


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    command: str  # for people, without the safety settings and without credentials
    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text that survives JSON (see `as_text`)."""
        return as_text(self.stdout)


def as_text(data: bytes) -> str:
    """Text that survives JSON: a byte that is not UTF-8 shows as backslash, x and its two digits."""
    return data.decode("utf-8", "backslashreplace")


def without_credentials(text: str) -> str:
    """`text` with the user:password part of every URL taken out."""
    return _CREDENTIALS.sub("***@", text)


class Git:
    """git in one git folder, with or without a work tree.

    `git_dir` None lets git discover it from `cwd`: for inspection only.
    """

    def __init__(
        self, git_dir: str | Path | None, work_tree: str | Path | None = None, *, cwd: str | None = None
    ) -> None:
        self.git_dir = None if git_dir is None else str(git_dir)
        self.work_tree = None if work_tree is None else str(work_tree)
        self._cwd = cwd or self.work_tree or self.git_dir or "/"

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        timeout: float = READ_SECONDS,
    ) -> str:
        """Run it and return its standard output as it is. GitError on an exit code but 0."""
        return self.ask(*args, stdin=stdin, timeout=timeout).text

    def line(self, *args: str) -> str:
        """The output without its last newline."""
        return self.run(*args).removesuffix("\n")

    def holds(self, *args: str) -> bool:
        """The answer of a command that says yes by 0 and no by 1; anything else is a GitError."""
        return self.ask(*args, ok=(0, 1)).exit_code == 0

    def names(self, *args: str, stdin: bytes | None = None) -> list[bytes]:
        """The parts of an output that NUL bytes separate (`-z`)."""
        output = self.ask(*args, stdin=stdin).stdout
        return [part for part in output.split(b"\0") if part]

    def ask(
        self,
        *args: str,
        stdin: bytes | None = None,
        timeout: float = READ_SECONDS,
        ok: tuple[int, ...] | None = (0,),
        env: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
    ) -> Ran:
        """Run it and return everything. GitError where its exit code is not in `ok` (None: any will do).

        GitKilled where it died of a signal, whatever `ok` says: that is no answer to take for a no.
        `settings` are further `NAME=VALUE` for this call, `env` further variables. AsksGit within `no_git`.
        """
        return self.begin(*args, stdin=stdin, env=env, settings=settings).finish(timeout, ok)

    def begin(
        self,
        *args: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
    ) -> Asked:
        """The same, started and not waited for: `finish` or `end` what is returned."""
        if getattr(_here, "is_forbidden", False):
            raise AsksGit
        argv = ["git", *_SAFE_ARGUMENTS, *(part for setting in settings for part in ("-c", setting))]
        if self.git_dir is not None:
            argv.append(f"--git-dir={self.git_dir}")
        if self.work_tree is not None:
            argv.append(f"--work-tree={self.work_tree}")
        shown = without_credentials(shlex.join(["git", *args]))
        running = _start([*argv, *args], shown, stdin, {**clean_environment(), **(env or {})}, self._cwd)
        return Asked(running, shown, self.git_dir or self._cwd)


class Asked:
    """A git command that has been started, while its caller does something else. `finish` or `end` it."""

    def __init__(self, running: Running, shown: str, place: str) -> None:
        self._running = running
        self._shown = shown
        self._place = place

    def finish(self, timeout: float = READ_SECONDS, ok: tuple[int, ...] | None = (0,)) -> Ran:
        """Wait for it and return everything; the errors of `Git.ask`."""
        done = self._running.finish(timeout)
        if done.exit_code is None:
            message = f"`{self._shown}` was ended after {timeout:.0f} s"
            raise GitError(message, self._shown, None, as_text(done.stderr))
        said = without_credentials(as_text(done.stderr).strip())
        if done.exit_code != 0 and _is_full(self._place):
            said += f"\nhaikud: {os.strerror(errno.ENOSPC)}"  # git itself often says only what it could not write
        ran = Ran(self._shown, done.exit_code, done.stdout, said)
        if ran.exit_code < 0:
            raise GitKilled(_describe(ran), ran.command, ran.exit_code, ran.stderr)
        if ok is not None and ran.exit_code not in ok:
            raise GitError(_describe(ran), ran.command, ran.exit_code, ran.stderr)
        return ran

    def end(self) -> None:
        """Nobody asks any longer."""
        self._running.end()


def clean_environment() -> dict[str, str]:
    """What git gets to see: nothing inherited but where programs, the user's configuration and the network are."""
    env = {name: os.environ[name] for name in _PASSED_NAMES if name in os.environ}
    env.setdefault("PATH", os.defpath)
    return env | {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",  # only what we mean to write is written: no index refreshed in passing
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_EDITOR": "true",
    }


def network_environment() -> dict[str, str]:
    """What a push needs beyond that: the user's ssh agent."""
    return {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}


def _is_full(path: str) -> bool:
    """Whether the filesystem of a repository has no room to speak of."""
    try:
        facts = os.statvfs(path)
    except OSError:
        return False
    return facts.f_bavail * facts.f_frsize < _NO_ROOM_BYTES


def _describe(ran: Ran) -> str:
    reason = ran.stderr.splitlines()[-1] if ran.stderr else "it said nothing"
    for line in ran.stderr.splitlines():
        if line.startswith(("fatal:", "error:")):
            reason = line.partition(": ")[2]
            break
    how = f"exit code {ran.exit_code}" if ran.exit_code >= 0 else f"signal {-ran.exit_code}"
    return f"`{ran.command}` failed ({how}): {reason}"


def _start(argv: list[str], shown: str, stdin: bytes | None, env: dict[str, str], cwd: str) -> Running:
    try:
        return Running(argv, stdin=stdin, env=env, cwd=cwd)
    except FileNotFoundError as error:
        if error.filename == "git":
            raise GitError("git is not installed, or not in PATH", shown, None, "") from error
        raise GitError(f"`{shown}` could not start in {cwd}: {error}", shown, None, "") from error
    except OSError as error:
        raise GitError(f"`{shown}` could not start in {cwd}: {error}", shown, None, "") from error
