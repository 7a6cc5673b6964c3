"""Floor 0: pydantic models of everything that haikud writes to disk or reads from it; pure, no I/O."""
