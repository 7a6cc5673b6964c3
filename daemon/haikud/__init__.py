"""haikud: a file-based spool daemon that runs one cheap agent per task, each in its own git worktree."""

__version__ = "0.1.0"
