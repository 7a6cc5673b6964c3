"""What the command line says when it cannot do what was asked: what happened, and what to do next."""

from __future__ import annotations

import sys
from typing import IO, Any

import click


class Trouble(click.ClickException):
    """Bad input or a situation in which a command can do nothing; shown as `haikud: error: ...`, never a traceback."""

    def __init__(self, message: str, *, advice: str = "", exit_code: int = 2) -> None:
        super().__init__(message)
        self.advice = advice
        self.exit_code = exit_code  # type: ignore[misc]  # click means one for each class; we have one class

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to stderr."""
        target = file or sys.stderr
        click.echo(f"haikud: error: {self.message}", file=target)
        if self.advice:
            click.echo(f"  {self.advice}", file=target)


def warn(text: str) -> None:
    """One line of warning on stderr, which leaves stdout to the answer."""
    click.echo(f"haikud: warning: {text}", err=True)


def note(text: str) -> None:
    """One line on stderr."""
    click.echo(f"haikud: {text}", err=True)
