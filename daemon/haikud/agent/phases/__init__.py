"""The phases of an attempt, the checkpoints of the guide: setup, implement, validate, deliver, report."""
