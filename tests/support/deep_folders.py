"""Folders deeper than any path can name, as an agent may leave them."""

from __future__ import annotations

import os
from pathlib import Path


def make_deep(folder: Path, depth: int = 1100) -> None:
    """Make the folder, and within it another, and so on: more than Python's own removal takes, too."""
    folder.mkdir(parents=True)
    within = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=within)
        deeper = os.open("deeper", os.O_RDONLY, dir_fd=within)
        os.close(within)
        within = deeper
    os.close(within)
