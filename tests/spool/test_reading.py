"""Untrusted files: read with a cap, never followed, never waited for."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest

from haikud.spool.reading import UntrustedFile, read_untrusted


def test_a_regular_file_within_its_cap_is_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_untrusted(tmp_path / "a", 10) == b"x" * 10
    with pytest.raises(UntrustedFile, match="larger than 9 bytes"):
        read_untrusted(tmp_path / "a", 9)


def test_a_file_that_claims_to_be_empty_is_read_up_to_its_cap():
    assert read_untrusted(Path("/proc/self/status"), 1 << 16)
    with pytest.raises(UntrustedFile, match="larger"):
        read_untrusted(Path("/proc/self/status"), 10)


def test_nothing_else_is_opened(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("link", "fifo", "folder", "socket"):
            with pytest.raises(UntrustedFile) as caught:
                read_untrusted(tmp_path / name, 100)
            assert not caught.value.missing
            assert name in caught.value.why
    with pytest.raises(UntrustedFile, match="regular"):
        read_untrusted(Path("/dev/zero"), 100)


def test_missing_is_told_apart(tmp_path: Path):
    with pytest.raises(UntrustedFile) as caught:
        read_untrusted(tmp_path / "none", 100)
    assert caught.value.missing


def test_a_machine_without_descriptors_is_no_fault_of_the_file(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            read_untrusted(tmp_path / "a", 9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
