"""Floor 2: between agents and the Messages API: meters, caps, holds the key."""
