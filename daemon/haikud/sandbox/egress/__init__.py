"""The way out of the walls: a proxy that lets commands reach the hosts which the settings list, and nothing else.

    hosts.py      what is listed, and which addresses a listed name may mean
    requests.py   what a client asks for, read strictly and written anew
    client_hello.py   the server's name in the first bytes of TLS
    upstream.py   a proxy that the machine itself has to go through
    wire.py       sockets that are read and written with limits
    proxy.py      one connection: asked, judged, connected, passed on
    server.py     all connections, on one thread
    gate.py       what the sandbox sees of it: `open_egress`
    within.py     a sandbox with its way out, and the environment that leads there

Nothing is imported or started before the first isolated command needs it.
"""
