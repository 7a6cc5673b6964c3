"""The runner's boot: `python -m haikud.agent --attempt DIR [--claim-fd N] [--key-fd M] [--cgroup DIR] REF`.

In this order, and with the standard library alone until the claim is safe: signals are taken, the claim's descriptor
is made close-on-exec, the attempt's cgroup is entered (where that is refused, it goes on without), memory and
environment are closed to other processes of this user, orphans are adopted, runner.json is written, the key is read
and its pipe closed, the title is set. Only then the rest is imported, which takes a second or two: a runner that has
begun needs no file of the package any more.

Without --claim-fd the runner takes the claim itself, and exits with 3 unless it is free and the task's last decision
is `running` with this very attempt. Exits with 0 when result.json is written, whatever the outcome; with 2 on wrong
arguments; with 70 after an unexpected error, which is in the log and, where possible, in result.json too; with 74 when
the machine refuses what an attempt cannot do without, and even the room for its result.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from haikud import __version__
from haikud.agent.stop import Stop
from haikud.contracts.masking import Masker, use_masker
from haikud.sandbox.cgroups import enter_cgroup
from haikud.sandbox.prctl import become_subreaper, make_undumpable, offer_to_oom_killer
from haikud.spool.claims import runner_title, take_claim, write_runner_identity
from haikud.spool.refusals import refused_by_machine

EXIT_NOT_OURS = 3
EXIT_BUG = 70  # EX_SOFTWARE
EXIT_ENVIRONMENT = 74  # as in contracts/attempt.py, which is not imported before the claim is safe

_MOST_KEY_BYTES = 4_194_304
_OPTIONS = frozenset({"--attempt", "--claim-fd", "--key-fd", "--cgroup"})
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Handed:
    """The secrets that the engine hands over, as JSON of this form."""

    api_key: str | None = field(default=None, repr=False)  # the gateway's token, or the API's key
    tokens: dict[str, str] = field(default_factory=dict, repr=False)  # GitHub's, by their variables' names; for gh
    given: dict[str, str] = field(default_factory=dict, repr=False)  # secrets.names, by name; for a push
    masked: dict[str, str] = field(default_factory=dict, repr=False)  # secret -> what to call it

    def masker(self) -> Masker:
        """That knows all of them."""
        values = {**self.masked, **dict.fromkeys(self.tokens.values(), "GitHub token")}
        values |= {value: name for name, value in self.given.items()}
        return Masker(values | ({self.api_key: "API key"} if self.api_key else {}))


def main(argv: list[str]) -> int:
    """Boot, then run the attempt."""
    stop = Stop()
    _take_signals(stop)
    arguments = _parse(argv)
    folder = arguments.attempt.absolute()
    if not _secure_claim(folder, arguments.claim_fd):
        return EXIT_NOT_OURS
    if arguments.key_fd is not None:
        os.set_inheritable(arguments.key_fd, False)
    entered = arguments.cgroup is not None and enter_cgroup(arguments.cgroup)
    offer_to_oom_killer()  # first: of what cannot be dumped, /proc/self is root's
    make_undumpable()
    become_subreaper()
    handed = Handed()
    try:
        write_runner_identity(folder / "runner.json", __version__, str(arguments.cgroup) if entered else "")
        handed = _read_secrets(arguments.key_fd)
        use_masker(handed.masker())
        set_title(runner_title(arguments.ref, folder))
        gc.disable()  # until all is imported: none of that is garbage, and looking for some costs a quarter of the time
        from haikud.agent.runner import run_attempt

        return run_attempt(folder, handed.api_key, stop, handed.tokens, handed.given)
    except Exception as error:  # noqa: BLE001 -- the last line of defence: the log must say why the runner broke
        refusal = refused_by_machine(error)
        if refusal is not None:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"haikud-agent: the machine refused what an attempt needs: {refusal}\n")
            return EXIT_ENVIRONMENT
        _log_bug(folder, error)
        return EXIT_BUG
    finally:
        _ignore_signals()


@dataclass(frozen=True)
class _Arguments:
    ref: str  # for ps
    attempt: Path  # plans/PLAN/TASK/attempt-N
    claim_fd: int | None  # locked by whoever started us
    key_fd: int | None  # of a pipe or memory file: see Handed, as JSON
    cgroup: Path | None  # the attempt's own, to be entered


def _parse(argv: list[str]) -> _Arguments:
    """By hand: argparse takes as long as the agent of a short attempt. SystemExit(2) where something is wrong."""
    options: dict[str, str] = {}
    refs: list[str] = []
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            refs.append(word)
            continue
        value = next(words, None)
        if word not in _OPTIONS or value is None:
            _refuse(f"{word} is not known, or has no value")
        options[word] = value
    if len(refs) != 1 or "--attempt" not in options:
        _refuse("one REF and --attempt are needed")
    try:
        claim, key = (int(options[name]) if name in options else None for name in ("--claim-fd", "--key-fd"))
    except ValueError:
        _refuse("a descriptor is a number")
    cgroup = Path(options["--cgroup"]) if "--cgroup" in options else None
    return _Arguments(ref=refs[0], attempt=Path(options["--attempt"]), claim_fd=claim, key_fd=key, cgroup=cgroup)


def _refuse(why: str) -> NoReturn:
    sys.stderr.write(f"usage: haikud-agent --attempt DIR [--claim-fd N] [--key-fd N] [--cgroup DIR] REF\n{why}\n")
    raise SystemExit(2)


def _take_signals(stop: threading.Event) -> None:
    """TERM, and what a terminal or a host going down may send, only say that it is time; the first one counts."""

    def on_signal(_number: int, _frame: types.FrameType | None) -> None:
        stop.set()

    for number in _SIGNALS:
        signal.signal(number, on_signal)


def _ignore_signals() -> None:
    """The interpreter gives signals their default back when it ends: a late TERM would change our exit code."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _secure_claim(folder: Path, descriptor: int | None) -> bool:
    """Hold the claim, in this process alone. False where this attempt is not ours to run."""
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
        return True
    taken = take_claim(folder / "claim")  # never closed: it is held as long as we live
    if taken is None:
        sys.stderr.write(f"haikud-agent: {folder / 'claim'} is held by another runner\n")
        return False
    if not _is_ordered(folder):
        sys.stderr.write(f"haikud-agent: the last decision does not order {folder.name}\n")
        return False
    return True


def _is_ordered(folder: Path) -> bool:
    """Whether the task's last whole decision is `running` with this attempt."""
    for path in sorted(folder.parent.glob("decision-*.json"), reverse=True):
        try:
            decision = json.loads(path.read_bytes())
            state, attempt = decision["state"], decision["attempt"]
        except (ValueError, TypeError, KeyError):
            continue  # torn by a crash: not whole
        return bool(state == "running" and f"attempt-{attempt}" == folder.name)
    return False


def _read_secrets(descriptor: int | None) -> Handed:
    """What the engine hands over. Its text appears in no message."""
    if descriptor is None:
        return Handed()
    data = b""
    try:
        while len(data) < _MOST_KEY_BYTES and (part := os.read(descriptor, 65_536)):
            data += part
    finally:
        os.close(descriptor)
    try:
        secrets = json.loads(data)
        key = secrets["api_key"]
        tokens, given, masked = (secrets.get(name) or {} for name in ("tokens", "given", "masked"))
        return Handed(
            api_key=key if isinstance(key, str) and key else None,
            tokens={str(name): str(tokens[name]) for name in tokens},
            given={str(name): str(given[name]) for name in given},
            masked={str(value): str(masked[value]) for value in masked},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        sys.stderr.write('haikud-agent: --key-fd did not hold {"api_key": ...}; going on without a key\n')
        return Handed()


def set_title(title: str) -> None:
    """So that `ps aux | grep REF` finds us, and the next daemon too where runner.json was taken away.

    Only our arguments are overwritten, which are longer than the title, and not our environment behind them: its
    HAIKUD_OUT says to whose tree we belong.
    """
    os.environ["SPT_NOENV"] = "1"  # read when the library first sets a title
    from setproctitle import setproctitle

    setproctitle(title)
    del os.environ["SPT_NOENV"]


def _log_bug(folder: Path, error: Exception) -> None:
    import traceback

    from haikud.spool.agent_log import AgentLog

    text = "".join(traceback.format_exception(error)).rstrip()
    with contextlib.suppress(OSError):  # a full disk: the exit code still tells
        AgentLog(folder.parent / "agent.log").line(f"the runner broke:\n{text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
