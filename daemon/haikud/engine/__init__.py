"""Floor 2: the daemon: watcher, admission, scheduler, policy, launchers, settlement, recovery."""
