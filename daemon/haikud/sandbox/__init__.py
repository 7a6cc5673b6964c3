"""Floor 1: isolation of untrusted commands, and the process trees they leave."""
