"""Floor 1: roles and templates: found, read and narrowed."""
