"""Monitors: whether running attempts get on, judged from the events that they write."""
