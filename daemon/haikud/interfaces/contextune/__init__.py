"""Plan folders of Contextune (`.parallel/plans/`), read and turned into a request of shape 2."""
