"""Floor 1: the spool directory: layout, durable writes, the store of decisions, claims and logs."""
