"""Floor 2: a scripted Messages API on loopback, the stand-in for a model in the demo and the tests."""
