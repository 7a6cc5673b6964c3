"""Isolation modes of untrusted commands. So far there is one: `none`, which holds nothing back.

The mode's name goes into the evidence, so that a reader knows how an attempt was held. An unknown mode is an error and
never a silent `none`: an attempt that was to be isolated must not run without.
"""

from __future__ import annotations

from collections.abc import Sequence

MODES = ("none",)


class UnknownSandbox(ValueError):  # noqa: N818 -- the name says what is the case
    """The settings name an isolation mode that this version does not have."""


def wrap_command(mode: str, argv: Sequence[str]) -> list[str]:
    """The argv that runs `argv` under the isolation mode of that name."""
    if mode not in MODES:
        raise UnknownSandbox(f"unknown sandbox mode {mode!r}: this version has {', '.join(MODES)}")
    return list(argv)
