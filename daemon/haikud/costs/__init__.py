"""Floor 1: usage, prices and budgets."""
