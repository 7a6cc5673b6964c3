"""Who started the daemon and wants to know how it is: systemd, told by interfaces/service; nobody, told by this one.

The daemon says when it is ready, what it has in hand, that it rereads its settings, and that it ends. `alive` is called
by the loop that does the rounds, after a round was done to its end, and from nowhere else: a hung loop and a round that
never ends both keep silent. Nothing here may fail or block.
"""

from __future__ import annotations


class Supervisor:
    """Nobody."""

    def ready(self) -> None:
        """What an earlier daemon left is taken up and drops are watched; or the settings were reread."""

    def waits(self, why: str, seconds: float) -> None:
        """It cannot begin yet, and tries again within so many seconds."""

    def tell(self, line: str) -> None:
        """What there is in hand."""

    def alive(self) -> None:
        """A round was done to its end."""

    def seconds_left(self) -> float | None:
        """Until the next round must have been done; None where nobody waits for it."""
        return None

    def reloading(self) -> None:
        """The settings are reread; `ready` follows."""

    def stopping(self) -> None:
        """The daemon ends."""
