"""Floor 3: command line, settings loading and schema export."""
