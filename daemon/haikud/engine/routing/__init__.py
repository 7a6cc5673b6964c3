"""Routing: whose work a task looks like, Haiku's or Sonnet's, by the guide's decision matrix and task lists."""
