"""The machine underneath: what it refuses, since when, what that holds up, and how one looks again."""
