"""Launchers: how an attempt's runner is started, adopted, watched and ended."""
