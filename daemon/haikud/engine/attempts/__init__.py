"""From a queued task to a settled attempt: its order, its start, its end, what it left."""
