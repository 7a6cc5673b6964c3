"""`python -m haikud.interfaces`: the command line, for where the `haikud` script is not on the PATH."""

from __future__ import annotations

from haikud.interfaces.cli import main

if __name__ == "__main__":
    main()
