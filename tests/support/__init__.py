"""What the tests share: a spool, a repository, a scripted API, a daemon from outside."""
