"""Floor 1: git: worktrees, branches, the agent's private git folder, evidence and delivery."""
