"""The last step before an untrusted command: started within the walls, or just before them, it becomes the command.

Run as `python -I -S -E inside.py ORDERS LINE COMMAND...`, with two inherited descriptors: ORDERS, a file in memory that
says what to do (`marshal`, from the runner), and LINE, a socket to answer on. In mode bwrap it opens listening sockets
in the command's own network and sends them out. In mode landlock it puts up the walls around itself. In both it sets
limits, and then executes the command: the environment is its own. What goes wrong is sent back as text, and the command
is not run: the runner then has something to read, not an exit code. Few imports: each one costs every command.
"""

import marshal
import os
import sys
from _socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

_SCM_RIGHTS = 1


def main() -> None:
    """Take the orders, carry them out, become the command."""
    told, line = int(sys.argv[1]), socket(fileno=int(sys.argv[2]))
    os.set_inheritable(line.fileno(), False)
    try:
        orders = marshal.loads(os.pread(told, os.fstat(told).st_size, 0))  # noqa: S302 -- the runner's own
        os.close(told)
        for number, limit in orders["limits"]:
            _limit(number, limit)
        if orders["listen"]:
            _hand_out_listeners(line, orders["listen"])
        if orders["landlock"] is not None:
            sys.path.append(orders["root"])
            from haikud.sandbox.landlock import enclose

            enclose(orders["landlock"])
        for signal_number in (13, 25):  # SIGPIPE, SIGXFSZ: Python ignores them, and commands must not inherit that
            _default_signal(signal_number)
        os.execvpe(sys.argv[3], sys.argv[3:], orders["environment"])  # noqa: S606 -- the command
    except BaseException as error:  # noqa: BLE001 -- told to the runner, whatever it is; nothing is run
        line.send(f"{type(error).__name__}: {error}".encode(errors="replace")[:4096])
    os._exit(127)


def _limit(number: int, limit: int) -> None:
    import resource

    _, hard = resource.getrlimit(number)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(number, (limit, limit))


def _default_signal(number: int) -> None:
    import _signal  # type: ignore[import-not-found]

    _signal.signal(number, _signal.SIG_DFL)


def _hand_out_listeners(line: socket, ports: list[int]) -> None:

    listeners = []
    for port in ports:
        listener = socket(AF_INET, SOCK_STREAM)
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        listeners.append(listener)
    descriptors = b"".join(listener.fileno().to_bytes(4, sys.byteorder) for listener in listeners)
    line.sendmsg([b"\0"], [(SOL_SOCKET, _SCM_RIGHTS, descriptors)])
    for listener in listeners:
        listener.close()


if __name__ == "__main__":
    main()
