"""The commands of the command line: one file each, or one for a small family."""
