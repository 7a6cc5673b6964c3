"""Which secrets this process knows, from its environment and the settings: to be masked, and for whom they are.

Promises: nothing is written, and no message holds a value. Fails with UnreadableSecrets, which names the file: what
somebody wants masked must not go unmasked in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.masking import MOST_VALUES, Masker, is_maskable
from haikud.contracts.secret_shapes import looks_secret
from haikud.contracts.settings import Settings
from haikud.spool.reading import UntrustedFile, read_untrusted

MOST_FILE_BYTES = 65_536


class UnreadableSecrets(Exception):  # noqa: N818 -- reads as what it is
    """A file of `secrets.files` cannot be read."""


@dataclass(frozen=True)
class KnownSecrets:
    """Its repr hides them."""

    masked: Mapping[str, str] = field(default_factory=dict, repr=False)  # secret -> what to call it
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets.names, by name: for a push alone
    warnings: tuple[str, ...] = ()

    def masker(self, more: Mapping[str, str] | None = None) -> Masker:
        """That knows them, and `more`."""
        return Masker({**self.masked, **(more or {})})


def find_secrets(environ: Mapping[str, str], settings: Settings) -> KnownSecrets:
    """The secrets in an environment and in the settings. Raises UnreadableSecrets."""
    masked: dict[str, str] = {}
    warnings: list[str] = []
    given = {name: environ[name] for name in settings.secrets.names if environ.get(name)}
    for name, value in given.items():
        if is_maskable(value):
            masked.setdefault(value, name)
        else:
            warnings.append(f"secrets.names: the value of {name} is too short or too plain a word to be masked")
    for name, value in [*settings.environment.set_values.items(), *environ.items()]:
        if looks_secret(name) and is_maskable(value) and not value.startswith("/"):  # a path to a key is no secret
            masked.setdefault(value, name)
    for place in settings.secrets.files:
        values = list(_values_in(Path(place).expanduser()))
        masked.update({value: f"from {Path(place).name}" for value in values if value not in masked})
    both = {*settings.environment.pass_names, *settings.environment.set_values}
    kept_back = [name for name in settings.secrets.names if name in both]
    if kept_back:
        warnings.append(f"environment: agents do not get {', '.join(kept_back)}, as secrets.names keeps it from them")
    if len(masked) > MOST_VALUES:
        warnings.append(f"{len(masked)} secrets are more than the {MOST_VALUES} that are looked for: the rest is not")
        masked = dict(list(masked.items())[:MOST_VALUES])
    return KnownSecrets(masked, given, tuple(warnings))


def _values_in(path: Path) -> Iterator[str]:
    """A value a line, or NAME=VALUE of which the value counts; of private keys each line."""
    try:
        data = read_untrusted(Path(os.path.realpath(path)), MOST_FILE_BYTES)  # a mounted secret may be a symlink
    except UntrustedFile as error:
        raise UnreadableSecrets(f"secrets.files: {path}: {error.why}") from error
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        found = value if sign and name.replace("_", "").isalnum() and value.strip("= ") else line
        found = found.strip().strip("\"'")
        if is_maskable(found) and not found.startswith("#"):
            yield found
