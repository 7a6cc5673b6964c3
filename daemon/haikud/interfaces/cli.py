"""The command line's front door.

A command's module is imported when that command is called and not before, so that `haikud status` does not pay for
`anthropic`, or for pydantic. Whatever goes wrong for a reason outside this program ends in one line that says what
happened, to what and what to do next, and in an exit code: 2 for usage, 74 where the disk refused, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

import haikud

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("haikud.interfaces.commands.run:run", "Run the daemon in the foreground."),
    "submit": ("haikud.interfaces.commands.submit:submit", "Check a request and drop it into the spool."),
    "check": ("haikud.interfaces.commands.check:check", "Say whether a request is ready for Haiku, and why."),
    "status": ("haikud.interfaces.commands.status:status", "Show what runs, waits and failed, and what it costs."),
    "logs": ("haikud.interfaces.commands.logs:logs", "Print an agent's log; -f follows it."),
    "wait": ("haikud.interfaces.commands.wait:wait", "Wait for a response and print it."),
    "answer": ("haikud.interfaces.commands.answer:answer", "Answer a question that an agent asked."),
    "cancel": ("haikud.interfaces.commands.control:cancel", "End a task or a plan for good."),
    "retry": ("haikud.interfaces.commands.control:retry", "Run a failed or cancelled task again."),
    "pause": ("haikud.interfaces.commands.control:pause", "Hold a task, a plan or the whole queue."),
    "resume": ("haikud.interfaces.commands.control:resume", "Go on with what was paused."),
    "merge": ("haikud.interfaces.commands.merge:merge", "Merge a plan's finished branches, tested first."),
    "cost": ("haikud.interfaces.commands.cost:cost", "Show what model calls have cost, and what was saved."),
    "stop": ("haikud.interfaces.commands.stop:stop", "Stop the daemon, gently or now."),
    "doctor": ("haikud.interfaces.commands.doctor:doctor", "Examine the machine and the spool; --repair mends."),
    "prune": ("haikud.interfaces.commands.prune:prune", "Remove old finished plans whose work is safe elsewhere."),
    "install-service": ("haikud.interfaces.commands.service:install_service", "Have systemd run the daemon."),
    "uninstall-service": ("haikud.interfaces.commands.service:uninstall_service", "Take it from systemd again."),
    "schema": ("haikud.interfaces.commands.schema:schema", "Write the JSON Schemas of every file in a spool."),
    "demo": ("haikud.interfaces.commands.demo:demo", "Show it all once, on a spool and a repository made for it."),
}
"""Name -> where the command is, and its line in `haikud --help`, which thus imports none of them."""

EXIT_DISK = 74  # EX_IOERR of sysexits.h
EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141


class ReaderGone(Exception):  # noqa: N818 - reads as what it is
    """Whoever read our output has had enough (`haikud logs X | head`)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def invoke(self, ctx: click.Context) -> object:
        """As click does, but with an end of our own for a closed pipe: click's is exit code 1, which means failure."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise ReaderGone from None
        return result

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but who puts --spool before the command is told where it belongs."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name != "--spool":
                raise
            raise click.UsageError("--spool stands after the command: haikud COMMAND --spool DIR", ctx) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none, and then click says so."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            msg = f"{COMMANDS[cmd_name][0]} is no command"
            raise TypeError(msg)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a misspelt command is told the nearest one."""
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean `haikud {near[0]}`?" if near else "`haikud --help` lists the commands."
            raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group("haikud", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(haikud.__version__, prog_name="haikud", message="%(prog)s %(version)s")
def haikud_command() -> None:
    """Drop a task plan into a folder; get back a tested commit and a response.

    Every command works by files alone, on the spool that --spool names: $HAIKUD_SPOOL by default, else ./spool.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    code: object
    try:
        code = haikud_command.main(args=arguments, prog_name="haikud", standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("haikud: interrupted", err=True)
        code = EXIT_INTERRUPTED
    except ReaderGone:
        # The interpreter's own last flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_READER_GONE
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        click.echo(f"haikud: error: {error.strerror or error}{where}", err=True)
        code = EXIT_DISK
    if code == EXIT_INTERRUPTED:
        # An impatient second Ctrl-C must not turn a clean end into a death by signal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code if isinstance(code, int) else 0)
