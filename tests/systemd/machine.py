"""A real systemd as PID 1 of private namespaces, on an overlay of this machine's files, with haikud installed.

Needs root, unshare and nsenter (util-linux), a mounted cgroup filesystem, systemd and dbus; no KVM, no container
engine. `why_not` says what is missing. haikud lies in /opt/haikud there, a virtual environment that reads this source
tree and this interpreter's packages, and /opt/source is the link to the version that is installed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import wait_until

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "daemon"
CGROUPS = Path("/sys/fs/cgroup")

PATH = "/opt/haikud/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NAMESPACES = (
    *("--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net"),
    *("--propagation", "private"),
)

NEEDED = ("unshare", "nsenter", "setpriv", "systemctl", "systemd-analyze", "dbus-daemon", "bash", "ip")


def why_not() -> str | None:
    """Why no machine can be had here; None where it can be tried."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root may make such namespaces"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(missing)} is not installed"
    if not CGROUPS.is_dir() or not os.access(CGROUPS, os.W_OK):
        return "there is no cgroup filesystem to be written"
    mounts = "mount -t tmpfs x /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay -o "
    mounts += "lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w x /mnt/r && mount -t proc x /mnt/r/proc"
    tried = subprocess.run(["unshare", *NAMESPACES, "sh", "-c", mounts], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"namespaces or mounts are refused: {tried.stderr.strip()}"


@dataclass
class Machine:
    """One that runs from `boot` to `halt`; its files are below `folder`'s tmpfs, seen through `root`."""

    folder: Path
    unshare: subprocess.Popen[bytes] | None = None
    init: int = 0
    cgroups: list[Path] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Its / as it can be read from outside; links there are not to be followed."""
        return Path(f"/proc/{self.init}/root")

    def boot(self) -> None:
        """Start it; returns when systemd is up."""
        self.cgroups = [_make_cgroup(folder, f"haikud-tests-{os.getpid()}") for folder in _own_cgroups()]
        binds = self.folder / "binds"
        binds.write_text("".join(f"{source}\t{target}\n" for source, target in _shown().items()), encoding="utf-8")
        enter = 'for place in "$@"; do echo $$ > "$place/cgroup.procs"; done; set --; exec setpriv --pdeathsig KILL unshare $FLAGS bash $INSIDE'
        with (self.folder / "console").open("wb") as console:
            self.unshare = subprocess.Popen(
                ["bash", "-c", enter, "enter", *map(str, self.cgroups)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "FLAGS": " ".join(NAMESPACES),
                    "INSIDE": f"{HERE / 'inside.sh'} {self.folder} {binds}",
                },
            )
        self.init = wait_until(self._find_init, what=lambda: f"PID 1; {self.console()}")
        wait_until((self.root / "run/systemd/private").exists, what=lambda: f"systemd; {self.console()}")
        self._install()
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        assert state in {"running", "degraded"}, (
            f"{state}: {self.run('systemctl', '--failed', '--no-pager', check=False).stdout}"
        )

    def halt(self) -> None:
        """End it and everything in it."""
        if self.init:
            with suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)  # PID 1's end is the end of all in its namespace
        if self.unshare is not None:
            with suppress(ProcessLookupError):
                self.unshare.kill()
            self.unshare.wait(timeout=20)
        for cgroup in self.cgroups:
            wait_until(lambda place=cgroup: _remove_cgroup(place), what=f"{cgroup} to be empty")

    def console(self) -> str:
        """What was said before the journal began."""
        return (self.folder / "console").read_text(encoding="utf-8", errors="replace")[-2000:]

    def run(
        self, *argv: str, user: str | None = None, check: bool = True, seconds: float = 60.0, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root or as a user with a service manager of his own."""
        inside = ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wd", "--"]
        environment = ["TERM=dumb", "LANG=C.UTF-8", f"PATH={PATH}"]
        if user is not None:
            home, uid = f"/home/{user}", self.run("id", "-u", user).stdout.strip()
            inside += ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]
            environment = ["-C", home, *environment, f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{uid}"]
        else:
            environment += ["HOME=/root"]
        ended = subprocess.run(
            [*inside, "env", "-i", *environment, *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            input=given,
            start_new_session=True,
        )
        if check:
            assert ended.returncode == 0, (
                f"{' '.join(argv)} ended with {ended.returncode}: {ended.stdout}{ended.stderr}"
            )
        return ended

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file there, with the folders it needs."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def _find_init(self) -> int | None:
        assert self.unshare is not None
        assert self.unshare.poll() is None, f"it did not boot: {self.console()}"
        children = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text(encoding="ascii")
        for child in children.split():
            if Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip() == "systemd":
                return int(child)
        return None

    def _install(self) -> None:
        """A virtual environment, as `pip install` would make it."""
        python = Path(os.path.realpath(sys.executable))
        home = f"/opt/python/bin/{python.name}" if "/opt/python" in _shown().values() else str(python)
        packages = f"/opt/haikud/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        self.write("/opt/haikud/pyvenv.cfg", f"home = {Path(home).parent}\ninclude-system-site-packages = false\n")
        sites = [target for target in _shown().values() if target.startswith("/opt/site/")]
        self.write(f"{packages}/haikud.pth", "\n".join(["/opt/source", *sites]) + "\n")
        self.write(
            "/opt/haikud/bin/haikud",
            "#!/opt/haikud/bin/python\nfrom haikud.interfaces.cli import main\n\nmain()\n",
            0o755,
        )
        (self.root / "opt/haikud/bin/python").symlink_to(home)
        (self.root / "opt/source").symlink_to("/opt/source-1")


def _shown() -> dict[Path, str]:
    """What of this machine is shown there, and where: it may lie in folders that the service does not see."""
    sites = [Path(place) for place in sys.path if Path(place).name in {"site-packages", "dist-packages"}]
    purelib = Path(sysconfig.get_paths()["purelib"])
    shown = {SOURCE: "/opt/source-1"}
    shown |= {place: f"/opt/site/{n}" for n, place in enumerate(dict.fromkeys([purelib, *sites])) if place.is_dir()}
    base = Path(sys.base_prefix)
    if not base.is_relative_to("/usr"):
        shown[base] = "/opt/python"
    return shown


def _own_cgroups() -> list[Path]:
    """Our cgroup in every hierarchy, v1 and v2."""
    found = []
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=")
        if not name:
            name = "" if (CGROUPS / "cgroup.controllers").exists() else "unified"
        folder = CGROUPS / name / path.strip("/")
        if folder.is_dir() and ".." not in folder.parts:
            found.append(folder)
    return found


def _make_cgroup(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir(exist_ok=True)
    for inherited in ("cpuset.cpus", "cpuset.mems"):
        if (parent / inherited).exists() and not (parent / "cgroup.controllers").exists():
            (made / inherited).write_text((parent / inherited).read_text(encoding="ascii"), encoding="ascii")
    return made


def _remove_cgroup(folder: Path) -> bool:
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(place).rmdir()
    return not folder.exists()
