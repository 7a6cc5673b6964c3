"""Which errors are the machine's, and which are not."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from haikud.contracts.attempt import EXIT_ENVIRONMENT
from haikud.spool.refusals import REFUSALS, refusal_in, refused_by_machine


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_a_refusal_is_found_behind_what_it_caused(number: int):
    cause = OSError(number, os.strerror(number))
    error = RuntimeError("cannot start")
    error.__cause__ = cause
    assert refused_by_machine(error) is cause
    assert refused_by_machine(cause) is cause
    found = refusal_in(f"hint: x\nfatal: unable to write file a/b: {os.strerror(number)}\n")
    assert found is not None
    assert found.errno == number


@pytest.mark.parametrize(
    "error", [None, ValueError("x"), FileNotFoundError(errno.ENOENT, "x"), PermissionError(errno.EACCES, "x")]
)
def test_other_errors_are_not_the_machines(error: BaseException | None):
    assert refused_by_machine(error) is None


def test_memory_and_threads_are_the_machines_too():
    for error, number in ((MemoryError(), errno.ENOMEM), (RuntimeError("can't start new thread"), errno.EAGAIN)):
        refusal = refused_by_machine(error)
        assert refusal is not None
        assert refusal.errno == number


@pytest.mark.parametrize(
    "words",
    [
        "",
        "fatal: not a git repository",
        "remote: fatal: write error: No space left on device",
        "error: pathspec 'No space left on device.txt' did not match",
    ],
)
def test_other_words_are_not_the_machines(words: str):
    assert refusal_in(words) is None


def test_gits_own_words_are_understood(tmp_path):
    made = subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert made.returncode == 0
    with open("/dev/full", "wb") as full:  # noqa: PTH123 -- a device
        ran = subprocess.run(
            ["git", "-C", tmp_path, "rev-parse", "--git-dir"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if ran.stderr:  # an older git does not look
        assert refusal_in(ran.stderr) is not None


def test_the_boot_exits_as_the_contract_says():
    from haikud.agent import __main__ as boot

    assert boot.EXIT_ENVIRONMENT == EXIT_ENVIRONMENT == os.EX_IOERR
