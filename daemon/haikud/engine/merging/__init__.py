"""Merging a plan's finished branches: `haikud merge`. No part of the daemon; it shares the spool with it alone."""
