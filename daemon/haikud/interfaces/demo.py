"""`haikud demo`: one request from the drop to the tested commit, on a spool and a repository made for it.

Everything is real but the model, which is scripted and called so: the daemon is a process of its own, the repository
is a git repository, the agent edits, tests and commits in its worktree. Nothing that is said at the end is taken from
the response alone; the commit and the tests are looked at again. `run_demo` gives 0 only if all of it holds.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haikud.contracts.times import format_time, utc_now
from haikud.interfaces.demo_place import DemoPlace, git, make_place
from haikud.interfaces.demo_processes import LOOK_SECONDS, DemoProcesses, last_lines
from haikud.interfaces.demo_project import REQUEST_ID, TEST_COMMAND, make_request
from haikud.interfaces.money import dollars
from haikud.interfaces.trouble import Trouble

BUDGET_USD = 0.25  # of the demo's only task, and so the most that --live can cost
SCRIPTED_SECONDS = 120.0
LIVE_SECONDS = 900.0
TEST_SECONDS = 120.0
EXIT_INTERRUPTED = 130

Out = Callable[[str], None]


def run_demo(*, live: bool, keep: bool, workdir: Path | None, out: Out) -> int:
    """Run the demo in `workdir` (./.demo); the exit code. `out` prints a line.

    A folder that an earlier demo made is replaced; with `keep` it is left and the new one lies beside it. With `live`
    the real API is used. 0 only if the request was answered with a success, the commit is there, the tests pass on
    it and the daemon ended well; 1 otherwise, 130 after Ctrl-C. Raises Trouble where it cannot even begin.
    """
    if live and not os.environ.get("ANTHROPIC_API_KEY"):
        raise Trouble(
            "--live needs a key of the Messages API, and $ANTHROPIC_API_KEY is not set",
            advice="export ANTHROPIC_API_KEY=..., or run `haikud demo` without --live: that needs no key",
        )
    began = time.monotonic()
    place = make_place(workdir, keep=keep, budget_usd=BUDGET_USD, live=live)
    processes = DemoProcesses(place)
    try:
        with _signals_interrupt():
            checks = _play(place, processes, live=live, out=out)
    except KeyboardInterrupt:
        out("")
        out("Interrupted; the demo's processes are being ended.")
        return EXIT_INTERRUPTED
    finally:
        with _undisturbed():
            processes.end_all()
    _tell_checks(checks, out)
    _tell_next(place, live=live, out=out)
    good = bool(checks) and all(checks.values())
    out(f"{'All of this is true' if good else 'NOT all of this is true'}; it took {time.monotonic() - began:.1f} s.")
    return 0 if good else 1


def _play(place: DemoPlace, processes: DemoProcesses, *, live: bool, out: Out) -> dict[str, bool]:
    """Everything up to the daemon's end; what was found true or false."""
    base_url = None
    if live:
        out(f"The model is the real Claude Haiku, at your cost: at most {dollars(BUDGET_USD)}, the task's budget.")
    else:
        processes.start_api("logout")
        out(
            "The model is SCRIPTED: a program on this machine that plays the Messages API. No key, no network, no cost."
        )
        out("The figures for tokens and dollars below are computed for its texts; nobody is billed.")
        base_url = processes.api_url()
        out(f"  scripted API: {base_url}")
    out(f"  a git repository: {place.repository}  (branch main, {TEST_COMMAND})")
    processes.start_daemon(base_url)
    out(f"  haikud run --spool {place.spool.root}  (pid {processes.daemon.pid if processes.daemon else '?'})")
    _drop_request(place, out)
    response = _follow(place, processes, LIVE_SECONDS if live else SCRIPTED_SECONDS, out)
    checks = {"the request was answered with a success": response is not None and response.get("status") == "success"}
    if response is not None:
        _heading(f"The response: {place.spool.responses / f'{REQUEST_ID}.json'}", out)
        for line in json.dumps(response, indent=2, ensure_ascii=False).splitlines():
            out(line)
        checks |= _look_at_the_work(place, response, out)
    code = processes.stop_daemon()
    checks["the daemon ended when it was asked to"] = code == 0
    return checks


def _drop_request(place: DemoPlace, out: Out) -> None:
    """Write under a dot-name, then rename: a producer's whole duty."""
    request = json.dumps(make_request(place.repository, format_time(utc_now())), indent=2)
    hidden, name = place.spool.incoming / ".request.json", place.spool.incoming / "request.json"
    _heading("The request", out)
    for line in request.splitlines():
        out(line)
    hidden.write_text(request + "\n", encoding="utf-8")
    hidden.rename(name)
    out(f"$ mv {_short(place, hidden)} {_short(place, name)}")


def _follow(place: DemoPlace, processes: DemoProcesses, seconds: float, out: Out) -> dict[str, Any] | None:
    """Print the agent's log as it grows until the response is there; None where none comes, said why."""
    log = place.spool.log_link(REQUEST_ID)
    answer = place.spool.responses / f"{REQUEST_ID}.json"
    question = place.spool.escalations / f"{REQUEST_ID}.json"
    _heading(f"The agent's log, as it grows: {_short(place, log)}", out)
    tail = _Tail(log)
    end = time.monotonic() + seconds
    while True:
        answered, asked, runs = answer.exists(), question.exists(), processes.daemon_runs()
        for line in tail.new_lines():
            out(f"  {line}")
        if answered:
            response: dict[str, Any] = json.loads(answer.read_bytes())
            return response
        if asked:
            out("The agent asks a question, which the demo does not answer:")
            out(question.read_text(encoding="utf-8"))
            return None
        if not runs or time.monotonic() > end:
            out(f"There is no response after {seconds:.0f} s." if runs else "The daemon has ended by itself.")
            out(f"The end of its log:\n{last_lines(place.daemon_log)}")
            return None
        time.sleep(LOOK_SECONDS)


class _Tail:
    """New whole lines of a file that may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> list[str]:
        """Since the last call."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()


def _look_at_the_work(place: DemoPlace, response: dict[str, Any], out: Out) -> dict[str, bool]:
    """The branch, the worktree and the tests, looked at with nothing but git and the test command."""
    payload = response.get("payload") or {}
    branch, worktree = payload.get("branch"), payload.get("worktree")
    if not branch or not worktree:
        return {"the response names a branch and a worktree": False}
    folder = place.repository / worktree
    _heading(f"The commit: git log --stat main..{branch}", out)
    for line in git(place.repository, "log", "--stat", f"main..{branch}").splitlines():
        out(line)
    commits = int(git(place.repository, "rev-list", "--count", f"main..{branch}"))
    _heading(f"The tests, once more, in {_short(place, folder)}: {TEST_COMMAND}", out)
    tests = subprocess.run(
        shlex.split(TEST_COMMAND),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=TEST_SECONDS,
        check=False,
    )
    for line in tests.stdout.splitlines():
        out(f"  {line}")
    head = git(folder, "rev-parse", "HEAD")
    sandbox = (payload.get("evidence") or {}).get("sandbox")
    return {
        f"its commands ran in the sandbox mode {sandbox}"
        + (", as none works on this machine: haikud doctor says why" if sandbox == "none" else ""): bool(sandbox),
        f"{branch} has {commits} commit{'' if commits == 1 else 's'} that main has not": commits > 0,
        "the response counts as many": payload.get("commits") == commits,
        f"the worktree {worktree} is at that commit, with nothing left over": (
            head == git(place.repository, "rev-parse", branch) and not git(folder, "status", "--porcelain")
        ),
        "the tests pass on it": tests.returncode == 0 and payload.get("tests_passing") is True,
        "the checkout's own branch is untouched": (
            git(place.repository, "rev-list", "--count", "main") == "1"
            and git(place.repository, "branch", "--show-current") == "main"
        ),
    }


def _tell_checks(checks: dict[str, bool], out: Out) -> None:
    _heading("What was found", out)
    for what, holds in checks.items():
        out(f"  {'yes' if holds else 'NO '}  {what}")


def _tell_next(place: DemoPlace, *, live: bool, out: Out) -> None:
    _heading("Where everything lies", out)
    lines = [
        (place.repository, "the repository; `git log --all --graph` shows the branch"),
        (place.spool.root, "the spool: responses/, plans/, logs/, status.json"),
        (place.daemon_log, "what the daemon said"),
    ]
    if not live:
        lines.append((place.api_journal, "each request to the scripted API, and its answer"))
    width = max(len(str(path)) for path, _ in lines)
    for path, what in lines:
        out(f"  {path!s:<{width}}  {what}")
    spool, haikud = shlex.quote(str(place.spool.root)), shlex.quote(own_command())
    _heading("What to try next", out)
    out(f"  {haikud} status --spool {spool}")
    out(f"  {haikud} logs {REQUEST_ID} --spool {spool}")
    out(f"  git -C {shlex.quote(str(place.repository))} merge feature/{REQUEST_ID}")
    if not live:
        out(f"  export ANTHROPIC_API_KEY=...; {haikud} demo --live        the same with Claude Haiku")
    out("  and with haikud installed (README.md, Use it): haikud submit PLAN.json --wait, in a checkout of yours")
    out("")


def own_command() -> str:
    """What to type for this very haikud: its name where the shell finds it, else where it lies."""
    script, found = Path(sys.executable).with_name("haikud"), shutil.which("haikud")
    if not script.exists() or (found and script.samefile(found)):
        return "haikud"
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)


def _heading(text: str, out: Out) -> None:
    out("")
    out(f"== {text}")


def _short(place: DemoPlace, path: Path) -> str:
    """A path relative to the demo's folder."""
    return str(path.relative_to(place.root)) if path.is_relative_to(place.root) else str(path)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let TERM and HUP do what Ctrl-C does, so that a closed terminal leaves nothing running."""

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    with _handlers({signal.SIGTERM: interrupt, signal.SIGHUP: interrupt}):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let nobody's second Ctrl-C keep processes from being ended; that takes seconds, not minutes."""
    with _handlers(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)):
        yield


@contextmanager
def _handlers(wanted: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Signal handlers for a while, where we are in the thread that may set them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
