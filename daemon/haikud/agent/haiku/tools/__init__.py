"""What the built-in agent can do: a shell, an editor, reporting and asking."""
