"""The walls around untrusted commands: a `Sandbox` runs them under one policy.

Modes: `bwrap` (bubblewrap: a root, processes and a network of its own), `landlock` (Landlock and seccomp around the
command) and `none`, which holds nothing back. `holds` in matrix.py says what each keeps from a command. The mode's name
goes into the evidence, so that a reader knows how an attempt was held. An unknown mode is an error and never a silent
`none`: what was to be isolated must not run without; so is a wall that cannot be put up, which raises CannotStart.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.masking import masked_output
from haikud.sandbox.bwrap import bwrap_options, find_bwrap
from haikud.sandbox.commands import CannotStart, Ended, run_command
from haikud.sandbox.egress_seam import PROXY_PORT, Egress
from haikud.sandbox.landlock import DEVICE, LIST, READ, WRITE, landlock_abi
from haikud.sandbox.launcher import PLACE, Launcher, in_memory
from haikud.sandbox.matrix import has_tcp
from haikud.sandbox.policy import Policy
from haikud.sandbox.seccomp import Reach, program
from haikud.sandbox.view import SYSTEM, View, is_beneath, view_of, without

MODES = ("bwrap", "landlock", "none")

_INSIDE = Path("/run/haikud/inside.py")
"""Where the launcher stands in a root of its own."""

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_LOADERS_VARIABLES = ("LD_", "GLIBC_TUNABLES", "PYTHON", "MALLOC_")
"""They act on whatever program sees them: on the command, and not on what puts up its walls."""

_TMP = Path("/tmp")  # noqa: S108 -- inside, it is the command's own


class UnknownSandbox(ValueError):  # noqa: N818 -- the name says what is the case
    """The order names an isolation mode that this version does not have."""


@dataclass
class _Way:
    """How a command is started within the walls."""

    argv: list[str]
    cwd: Path | str
    env: Mapping[str, str]
    pass_fds: tuple[int, ...] = ()
    wrapped: bool = False
    failure: Callable[[Ended, bytes], str | None] = field(default=lambda _ended, _output: None)


class Sandbox:
    """Runs commands under one policy, one at a time. Raises UnknownSandbox.

    `egress` is the way out that the policy's settings allow; without one, mode bwrap has no network at all and mode
    landlock only the policy's ports. It is closed with the sandbox.
    """

    def __init__(self, policy: Policy, egress: Egress | None = None) -> None:
        if policy.mode not in MODES:
            raise UnknownSandbox(f"unknown sandbox mode {policy.mode!r}: this version has {', '.join(MODES)}")
        self.policy = policy
        self._egress = egress
        self._views: dict[tuple[object, ...], View] = {}

    def environment(self) -> dict[str, str]:
        """Variables that commands need to find their way out: the proxy's address. Raises OSError."""
        if self._egress is None or not self._has_proxy:
            return {}
        port = self._proxy_port if self.policy.mode == "bwrap" else self._egress.landlock_port()
        return self._egress.environment(port)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        timeout: float | None,
        grace: float,
        on_output: Callable[[bytes], None],
        stop: Callable[[], bool] | None = None,
        wake: int | None = None,
    ) -> Ended:
        """As `run_command`, within the walls, secrets in the output masked. Raises CannotStart and TreeStillAlive.

        In mode bwrap a signal that ends the command shows as 128 + its number, not as a negative exit code.
        """
        heard = b""

        def take(data: bytes) -> None:
            nonlocal heard
            heard = (heard + data)[:1000] if len(heard) < 1000 else heard
            hear(data)

        with masked_output(on_output) as hear, self._enclose(argv, cwd, env) as way:
            ended = run_command(
                way.argv,
                cwd=way.cwd,
                env=way.env,
                timeout=timeout,
                grace=grace,
                on_output=take if self.policy.mode == "bwrap" else hear,
                stop=stop,
                wake=wake,
                pass_fds=way.pass_fds,
                wrapped=way.wrapped,
            )
            why = way.failure(ended, heard) if ended.exit_code is not None else None
            if why is not None:
                raise CannotStart(f"cannot start {argv[0]!r} in {cwd}: {why}")
            return ended

    def close(self) -> None:
        """Let go of what the policy needed."""
        if self._egress is not None:
            self._egress.close()

    @property
    def _has_proxy(self) -> bool:
        return self.policy.mode != "none" and self.policy.settings.network == "listed"

    @property
    def _proxy_port(self) -> int:
        """In a network of the command's own."""
        return next(port for port in range(PROXY_PORT, 65_536) if port not in self.policy.ports)

    @contextmanager
    def _enclose(self, argv: Sequence[str], cwd: Path | str, env: Mapping[str, str]) -> Iterator[_Way]:
        if self.policy.mode == "none":
            yield _Way(list(argv), cwd, env)
            return
        self._expect_startable(argv, Path(cwd), env)
        with ExitStack() as stack:
            try:
                enclosed = self._bwrap if self.policy.mode == "bwrap" else self._landlock
                way = enclosed(stack, argv, cwd, env)
            except CannotStart:
                raise
            except (OSError, RuntimeError, ValueError) as error:
                raise CannotStart(f"cannot put up the walls ({self.policy.mode}) for {argv[0]!r}: {error}") from error
            yield way

    def _expect_startable(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        """As a start without walls would fail, so does this one: the launchers' own exit codes say less."""
        if any("\0" in text for text in (*argv, str(cwd))):
            raise CannotStart(f"cannot start {argv[0]!r} in {cwd}: a NUL byte in an argument")
        if not self._is_private(cwd, env) and not cwd.is_dir():
            raise CannotStart(f"cannot start {argv[0]!r} in {cwd}: no such folder")
        if "/" in argv[0]:
            found = self._is_private(cwd / argv[0], env) or os.access(cwd / argv[0], os.X_OK)
        else:
            found = shutil.which(argv[0], path=env.get("PATH", os.defpath)) is not None
        if not found:
            raise CannotStart(f"cannot start {argv[0]!r} in {cwd}: no such program, or not executable")

    def _is_private(self, place: Path, env: Mapping[str, str]) -> bool:
        """Whether it is another place for a command than for us, in a /tmp of the command's own."""
        view = self._view(env)
        named = (*view.writable, *view.readable)
        return self.policy.mode == "bwrap" and place.is_relative_to(_TMP) and not is_beneath(place, named)

    def _view(self, env: Mapping[str, str]) -> View:
        path, named = env.get("PATH", os.defpath), (*self.policy.writable, *self.policy.readable)
        key = (path, *(one.exists() for one in named))
        if key not in self._views:
            try:
                self._views[key] = view_of(self.policy, path)
            except (OSError, ValueError) as error:
                raise CannotStart(f"cannot put up the walls ({self.policy.mode}): {error}") from error
        return self._views[key]

    def _limits(self) -> list[tuple[int, int]]:
        chosen = self.policy.settings
        wanted = (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, chosen.file_bytes),
            (resource.RLIMIT_AS, chosen.memory_bytes),
            (resource.RLIMIT_NPROC, chosen.processes),
        )
        limits = []
        for number, limit in wanted:
            if limit is not None:
                hard = resource.getrlimit(number)[1]
                limits.append((number, limit if hard == resource.RLIM_INFINITY else min(limit, hard)))
        return limits

    def _bwrap(self, stack: ExitStack, argv: Sequence[str], cwd: Path | str, env: Mapping[str, str]) -> _Way:
        program_file = find_bwrap()
        if program_file is None:
            raise RuntimeError("bubblewrap (bwrap) is not installed")
        own_network = self.policy.settings.network != "open"
        view = self._view(env)
        options = bwrap_options(program_file, view, cwd=Path(cwd), own_network=own_network, launcher=(PLACE, _INSIDE))
        listen = self._listen() if own_network else []
        limiter = shutil.which("prlimit", path="/usr/bin:/bin")
        launcher, outer = None, _harmless(env)
        if listen or limiter is None:
            launcher = self._launcher(stack, env, listen=listen)
            before = launcher.argv(_INSIDE)
        else:
            for name in env.keys() - outer.keys():
                options += ["--setenv", name, env[name]]
            names = {
                resource.RLIMIT_CORE: "core",
                resource.RLIMIT_FSIZE: "fsize",
                resource.RLIMIT_AS: "as",
                resource.RLIMIT_NPROC: "nproc",
            }
            before = [limiter, *(f"--{names[number]}={limit}" for number, limit in self._limits()), "--"]
        status, status_end = os.pipe()
        stack.callback(os.close, status)
        stack.callback(os.close, status_end)
        descriptors = [_memory(stack, program(Reach(own_namespaces=True))), status_end]
        options += ["--seccomp", str(descriptors[0]), "--json-status-fd", str(status_end)]
        if any("\0" in option for option in options):
            raise ValueError("a NUL byte in a path")
        descriptors.append(_memory(stack, "\0".join([*options, ""]).encode(errors="surrogateescape")))
        if launcher is not None:
            descriptors += launcher.descriptors

        def failure(ended: Ended, output: bytes) -> str | None:
            os.set_blocking(status, False)
            said = launcher.finish() if launcher is not None else ""
            if said:
                return said
            if ended.exit_code and ended.exit_code > 0 and not _was_executed(status):
                return output.decode(errors="replace").strip() or "bubblewrap failed without a word"
            return None

        command = [program_file, "--args", str(descriptors[2]), "--", *before, *argv]
        return _Way(command, "/", outer, tuple(descriptors), wrapped=True, failure=failure)

    def _landlock(self, stack: ExitStack, argv: Sequence[str], cwd: Path | str, env: Mapping[str, str]) -> _Way:
        network = self.policy.settings.network
        ports = list(self.policy.ports)
        if self._egress is not None and self._has_proxy:
            ports.append(self._egress.landlock_port())
        # Where the kernel cannot hold TCP to these ports, there is none: better no way out than any way out.
        tcp = has_tcp(landlock_abi(), network) and (network == "open" or bool(ports))
        reach = Reach(own_namespaces=False, tcp=tcp, other_internet=network == "open")
        orders = {
            "places": self._landlock_places(env),
            "ports": None if network == "open" else ports,
            "filter": program(reach),
        }
        launcher = self._launcher(stack, env, landlock=orders)
        return _Way(
            [*launcher.argv(), *argv],
            cwd,
            _harmless(env),
            launcher.descriptors,
            failure=lambda _ended, _output: launcher.finish() or None,
        )

    def _landlock_places(self, env: Mapping[str, str]) -> list[tuple[str, str]]:
        view = self._view(env)
        places = [(str(one), WRITE) for one in view.writable]
        places += [(one, DEVICE) for one in _DEVICES]
        places.append(("/proc", READ))
        for root in (*map(Path, SYSTEM), *view.readable):
            parts, opened = without(root, [one for one in view.hidden if one != root])
            places += [(str(one), READ) for one in parts]
            places += [(str(one), LIST) for one in opened]
        return places

    def _listen(self) -> list[int]:
        if self._egress is None:
            return []
        return [*([self._proxy_port] if self._has_proxy else []), *self.policy.ports]

    def _launcher(
        self,
        stack: ExitStack,
        env: Mapping[str, str],
        *,
        listen: list[int] | None = None,
        landlock: Mapping[str, object] | None = None,
    ) -> Launcher:
        launcher = Launcher(
            limits=self._limits(),
            listen=listen,
            landlock=landlock,
            environment=env,
            adopt=self._adopt,
        )
        if listen and self._egress is not None:
            stack.callback(self._egress.release)
        stack.callback(launcher.close)  # before that, so that nothing is adopted after the release
        launcher.serve()
        return launcher

    def _adopt(self, port: int, listener: socket.socket) -> None:
        if self._egress is not None:
            is_proxy = self._has_proxy and port == self._proxy_port
            self._egress.adopt("proxy" if is_proxy else "port", port, listener)


def _harmless(env: Mapping[str, str]) -> dict[str, str]:
    """What the program that puts up the walls may see of the command's environment."""
    return {name: value for name, value in env.items() if not name.startswith(_LOADERS_VARIABLES)}


def _memory(stack: ExitStack, data: bytes) -> int:
    descriptor = in_memory(data)
    stack.callback(os.close, descriptor)
    return descriptor


def _was_executed(status: int) -> bool:
    """Whether bubblewrap tells of an exit code: it only does when it got as far as the command."""
    try:
        lines = os.read(status, 65_536).splitlines()
    except BlockingIOError:
        return False
    return any("exit-code" in json.loads(line) for line in lines)


NO_SANDBOX = Sandbox(Policy())
"""Nothing is held back."""
