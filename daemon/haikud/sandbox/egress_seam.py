"""The way out of the walls, as the walls see it: what serves the sockets that commands inside may connect to.

In mode bwrap with its own network each command gets a loopback of its own. There the launcher opens listening sockets,
for the proxy at PROXY_PORT and for each of the policy's ports at its own number, and hands them out; whoever implements
`Egress` accepts on them from outside. In mode landlock commands share the machine's loopback: they may connect to the
policy's ports as they are, and to the proxy that `Egress` itself listens with at `landlock_port()`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Literal, Protocol

from haikud.sandbox.policy import Policy

PROXY_PORT = 3128
"""Where commands in a network of their own find the proxy, on 127.0.0.1."""

Kind = Literal["proxy", "port"]


class Egress(Protocol):
    """Serves what commands inside connect to; made for one `Sandbox`, which runs one command at a time."""

    def adopt(self, kind: Kind, port: int, listener: socket.socket) -> None:
        """Serve this listening socket from now on, and own it: it lives in a command's network, at 127.0.0.1:port.

        `proxy`: speak HTTP proxy on it; `port`: pass each connection on to 127.0.0.1:port of the machine. Called from
        a thread of the sandbox, before the command begins. Must not block.
        """

    def release(self) -> None:
        """The command has ended: close what was adopted for it, with all connections. Nothing adopted is fine."""

    def environment(self, port: int) -> dict[str, str]:
        """Variables by which programs find the proxy, which they see at 127.0.0.1:port."""

    def landlock_port(self) -> int:
        """The port on the machine's loopback where the proxy listens, for mode landlock; begins to on the first call.

        Raises OSError.
        """

    def close(self) -> None:
        """Stop serving altogether. May be called twice."""


MakeEgress = Callable[[Policy], Egress]
"""What makes a policy's way out; called where its settings say `network: listed`, or where it has ports."""
