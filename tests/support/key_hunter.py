"""What a hostile agent may try: look for an API key in everything that it can read.

Run in an attempt, it leaves what it saw in `$HAIKUD_OUT/loot`, for a test to search: environment, arguments and memory
maps of every process of the machine, what `ps` shows, and all files of the spool and around it, of its HOME and of
/tmp. Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OUT = Path(os.environ["HAIKUD_OUT"])
LOOT = OUT / "loot"
HOUSE = OUT.parents[5]  # house/spool/plans/PLAN/TASK/attempt-N/out
MOST_BYTES = 4_000_000
DEPTH_IN_TMP = 3


def keep(name: str, data: bytes) -> None:
    """Add to the loot."""
    with (LOOT / name).open("ab") as file:
        file.write(data + b"\n")


def glance(name: str, path: Path) -> None:
    """Keep a file, if it can be read."""
    try:
        with path.open("rb", buffering=0) as file:
            keep(name, bytes(path) + b": " + file.read(MOST_BYTES))
    except OSError:
        pass


def look_at_processes() -> None:
    """Environment, arguments and maps of all that there are."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            for name in ("environ", "cmdline", "maps"):
                glance(name, process / name)
    for ps in (["ps", "axeww"], ["ps", "-ef"]):
        keep("ps", subprocess.run(ps, capture_output=True, check=False).stdout)
    keep("environ", repr(dict(os.environ)).encode())


def look_at_files() -> None:
    """The spool and all around it, our HOME, and what is new in /tmp."""
    began = (HOUSE / "haikud.yaml").stat().st_mtime - 1
    for top in (HOUSE, Path.home(), Path(os.environ["TMPDIR"])):
        for path in top.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.parent.name != LOOT.name:
                glance("files", path)
    for folder, folders, names in os.walk("/tmp"):
        if folder.count("/") >= DEPTH_IN_TMP:
            folders.clear()
        for name in names:
            path = Path(folder) / name
            try:
                if path.lstat().st_mtime >= began and path.is_file() and path.stat().st_size < MOST_BYTES:
                    glance("files", path)
            except OSError:
                continue


if __name__ == "__main__":
    LOOT.mkdir(exist_ok=True)
    look_at_processes()
    look_at_files()
    sys.stdout.write(f"{os.environ}\n")  # into its log, as a careless one does
    (LOOT / "done").touch()
