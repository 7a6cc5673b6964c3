"""The error report of a failed attempt: what it was, what was tried, and in which environment."""
