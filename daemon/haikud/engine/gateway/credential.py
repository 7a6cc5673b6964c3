"""The API's credential: where it is kept, and whether it is kept well.

The first of: $ANTHROPIC_API_KEY; the file that `api.key_file` names; `anthropic_api_key` in systemd's
$CREDENTIALS_DIRECTORY. A file must be a regular one, of the daemon's user or root, and closed to everybody else: what
others can read is no secret. systemd sees to that itself in its own folder.

Fails with CredentialFault, whose message says what is wrong with which file and never what is in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from haikud.spool.reading import read_at_most

VARIABLE = "ANTHROPIC_API_KEY"
SYSTEMD_FOLDER = "CREDENTIALS_DIRECTORY"
SYSTEMD_NAME = "anthropic_api_key"

_MOST_BYTES = 16_384


class CredentialFault(Exception):  # noqa: N818 - reads as what it is
    """A credential that is named and cannot be used."""


@dataclass(frozen=True)
class Credential:
    """What opens the API, and where it was found, for people."""

    value: str = field(repr=False)
    where: str


def find_credential(environ: Mapping[str, str], key_file: str | None) -> Credential | None:
    """The credential, None where there is none anywhere. Raises CredentialFault."""
    value = environ.get(VARIABLE, "").strip()
    if value:
        return Credential(value, f"${VARIABLE}")
    folder = environ.get(SYSTEMD_FOLDER, "")
    if key_file:
        path = Path(key_file).expanduser()
        kept_by_systemd = bool(folder) and path.resolve().is_relative_to(Path(folder).resolve())
        return Credential(_read(path, is_closed=kept_by_systemd), f"api.key_file, {path}")
    given = Path(folder, SYSTEMD_NAME) if folder else None
    if given is not None and given.exists() and given.stat().st_size:  # an empty one is laid there for a key to come
        return Credential(_read(given, is_closed=True), f"${SYSTEMD_FOLDER}/{SYSTEMD_NAME}")
    return None


def _read(path: Path, *, is_closed: bool) -> str:
    """The one line in a file. `is_closed`: its folder lets nobody in, whatever its own mode says."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise CredentialFault(f"the key file {path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CredentialFault(f"the key file {path} is no regular file")
        if status.st_uid not in {0, os.geteuid()}:
            raise CredentialFault(f"the key file {path} belongs to user {status.st_uid}: chown it to the daemon's")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077 and not is_closed:
            raise CredentialFault(f"the key file {path} is open to others (mode {mode:04o}): chmod 600 {path}")
        try:
            text = read_at_most(descriptor, _MOST_BYTES + 1).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
    finally:
        os.close(descriptor)
    if not text or len(text) > _MOST_BYTES or not text.isprintable() or " " in text:
        raise CredentialFault(f"the key file {path} does not hold one key on one line")
    return text
