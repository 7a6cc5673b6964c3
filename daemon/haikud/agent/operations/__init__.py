"""What a role can do without a model: issues, worktrees, a run of the tests."""
