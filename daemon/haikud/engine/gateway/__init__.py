"""The daemon's side of the gateway: its sockets, its process, its link, the tokens, what attempts have used."""
