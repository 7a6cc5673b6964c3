"""Claude Code as a command agent: what the role `claude-code` runs. Untrusted, and the standard library alone."""
