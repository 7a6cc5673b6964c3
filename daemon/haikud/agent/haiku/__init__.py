"""The built-in agent: a loop of model calls and tools over the Messages API. `session.run_haiku` is its door."""
