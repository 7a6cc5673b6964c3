"""Floor 2: the process of one attempt: runner, built-in Haiku loop, command agents, tools, transcript."""
