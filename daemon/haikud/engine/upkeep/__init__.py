"""Upkeep: what `haikud doctor` looks at and mends, and what `haikud prune` removes."""
