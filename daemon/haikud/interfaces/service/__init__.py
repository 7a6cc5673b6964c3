"""haikud as a service: what systemd is told, what the journal gets, which units there are and how they are placed."""
