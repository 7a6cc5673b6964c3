"""`python -m haikud.agent.claude_code`: have Claude Code carry out the task that the environment describes.

Exits as every command agent does: 0 done, 75 could not now, 79 a question, 127 where `claude` is not installed, 143
after TERM, anything else failed. What it did stands in `$HAIKUD_OUT/result.json`.
"""

from __future__ import annotations

import os
import sys

from haikud.agent.claude_code.session import carry_out

if __name__ == "__main__":
    sys.exit(carry_out(os.environ))
