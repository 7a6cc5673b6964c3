"""Attempts to reach somebody: hosts, services of this machine, sockets of the user's."""

from __future__ import annotations

import base64
import errno
import os
import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

from tests.hostile.inside.registry import Place, Row

SECONDS = 2.0


def say(sock: socket.socket, name: str, address: object) -> None:
    sock.settimeout(SECONDS)
    with sock:
        if sock.type == socket.SOCK_DGRAM:
            sock.sendto(name.encode(), address)  # type: ignore[arg-type]
        else:
            sock.connect(address)  # type: ignore[arg-type]
            sock.sendall(name.encode())


loopback = Row("tcp-ports")


@loopback(reaches="tcp")
def tcp_to_a_service_of_yours(place: Place) -> None:
    say(socket.socket(), "tcp_to_a_service_of_yours", ("127.0.0.1", place.ports["tcp"]))


@loopback(reaches="tcp")
def tcp_by_another_name_of_loopback(place: Place) -> None:
    say(socket.socket(), "tcp_by_another_name_of_loopback", ("127.1.2.3", place.ports["tcp"]))


@loopback(reaches="tcp6", doubtful="no IPv6")
def tcp_over_ipv6(place: Place) -> None:
    say(socket.socket(socket.AF_INET6), "tcp_over_ipv6", ("::1", place.ports["tcp6"]))


@loopback(reaches="tcp")
def tcp_fast_open(place: Place) -> None:
    with socket.socket() as sock:
        sock.sendto(b"tcp_fast_open", socket.MSG_FASTOPEN, ("127.0.0.1", place.ports["tcp"]))


@loopback(reaches="tcp", doubtful="no MPTCP")
def multipath_tcp(place: Place) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    say(sock, "multipath_tcp", ("127.0.0.1", place.ports["tcp"]))


internet = Row("tcp-hosts")


def send_syn(host: str, port: int) -> bool:
    """Whether the machine sends off a connection; nobody is waited for."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setblocking(False)
        return sock.connect_ex((host, port)) in {0, errno.EINPROGRESS}


@internet(doubtful="a machine without a network")
def connect_to_cloud_metadata(_place: Place) -> bool:
    return send_syn("169.254.169.254", 80)


@internet(doubtful="a machine without a network")
def connect_to_a_host(_place: Place) -> bool:
    return send_syn("192.0.2.1", 443)  # TEST-NET-1: nobody lives there


@internet(reaches="elsewhere")
def connect_to_the_proxys_port_elsewhere(place: Place) -> None:
    """A port that is open on this machine is open on all."""
    address = urlsplit(os.environ.get("http_proxy") or "")
    say(socket.socket(), "connect_to_the_proxys_port_elsewhere", ("127.9.9.9", address.port or 9))


udp = Row("udp")


@udp(reaches="udp")
def udp_to_a_service_of_yours(place: Place) -> None:
    say(socket.socket(type=socket.SOCK_DGRAM), "udp_to_a_service_of_yours", ("127.0.0.1", place.ports["udp"]))


@udp(doubtful="a machine without a network")
def dns_query_to_a_host(_place: Place) -> bool:
    query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06stolen\x07invalid\0\0\x10\0\x01"
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        return sock.sendto(query, ("192.0.2.53", 53)) > 0


raw = Row("other-sockets")


@raw(root=True, doubtful="no raw sockets")
def ping(_place: Place) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(SECONDS)
        body = b"\x08\0" + b"\0\0" + struct.pack("!HH", 77, 1)
        total = sum(struct.unpack("!4H", body))
        check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        sock.sendto(body[:2] + struct.pack("!H", check) + body[4:], ("127.0.0.1", 0))
        return bool(sock.recv(64))


@raw(root=True, doubtful="no packet sockets")
def listen_to_all_packets(_place: Place) -> bool:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)).close()
    return True


@raw(doubtful="no vsock")
def reach_the_virtual_machines_host(_place: Place) -> bool:
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        return sock.connect_ex((2, 1)) not in {errno.EACCES, errno.EPERM, errno.ENETUNREACH, errno.EAFNOSUPPORT}


sockets = Row("unix-sockets")


def to_path(name: str, path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    os.chdir(path.parent)  # a socket's path has 107 bytes at most
    say(socket.socket(socket.AF_UNIX, kind), name, path.name)


@sockets(reaches="docker")
def connect_to_docker(place: Place) -> None:
    to_path("connect_to_docker", place.sockets / "docker.sock")


@sockets(reaches="bus")
def connect_to_the_session_bus(place: Place) -> None:
    to_path("connect_to_the_session_bus", place.sockets / "bus")


@sockets(reaches="messages")
def connect_to_the_gateways_socket(place: Place) -> None:
    to_path("connect_to_the_gateways_socket", place.spool / "gateway/messages.sock")


@sockets(reaches="daemon")
def connect_to_the_daemons_socket(place: Place) -> None:
    to_path("connect_to_the_daemons_socket", place.spool / "gateway/daemon.sock")


@sockets(reaches="notify")
def tell_systemd_that_the_daemon_is_ready(place: Place) -> None:
    to_path("tell_systemd_that_the_daemon_is_ready", place.sockets / "notify", socket.SOCK_DGRAM)


@sockets(reaches="notify")
def turn_one_of_a_pair_of_sockets_to_systemd(place: Place) -> None:
    os.chdir(place.sockets)
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    say(pair[0], "turn_one_of_a_pair_of_sockets_to_systemd", "notify")


abstract = Row("abstract-sockets")


@abstract(reaches="abstract")
def connect_to_an_abstract_socket(place: Place) -> None:
    sock = socket.socket(socket.AF_UNIX)
    say(sock, "connect_to_an_abstract_socket", f"\0haikud-hostile-{place.token}")


@abstract(reaches="abstract datagram")
def send_to_an_abstract_socket(place: Place) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    say(sock, "send_to_an_abstract_socket", f"\0haikud-hostile-{place.token}-datagram")


listen = Row("listening")


@listen(reaches="visited")
def listen_on_a_port(place: Place) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", place.ports["free"]))
        sock.listen()
        (place.out / "listening").touch()
        sock.settimeout(SECONDS)
        sock.accept()[0].sendall(b"listen_on_a_port")


proxy = Row("proxy")


def to_proxy() -> tuple[socket.socket, str]:
    """A connection to the proxy that programs are told of, and the header by which it knows them."""
    address = urlsplit(os.environ.get("http_proxy", ""))
    if not address.hostname:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no proxy is named")
    password = base64.b64encode(f"{address.username}:{address.password}".encode()).decode()
    sock = socket.create_connection((address.hostname, address.port or 80), timeout=SECONDS)
    return sock, f"Proxy-Authorization: Basic {password}\r\n" if address.username else ""


def tunnel(name: str, target: str, more: str = "") -> None:
    """CONNECT there and say our name, whatever the answer is."""
    sock, known = to_proxy()
    with sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{known}{more}\r\n".encode())
        if b" 200 " in sock.recv(4096):
            sock.sendall(name.encode())
            sock.recv(1)


def get(name: str, url: str, host: str, *, after: str = "") -> None:
    """GET it; `after` a request that is let through."""
    sock, known = to_proxy()
    with sock:
        if after:
            first = f"GET http://{after}/first HTTP/1.1\r\nHost: {after}\r\nConnection: keep-alive\r\n{known}\r\n"
            sock.sendall(first.encode())
            sock.recv(4096)
        sock.sendall(f"GET {url}/{name} HTTP/1.1\r\nHost: {host}\r\n{known}\r\n".encode())
        sock.recv(4096)


@proxy(reaches="tcp")
def tunnel_to_loopback(place: Place) -> None:
    tunnel("tunnel_to_loopback", f"127.0.0.1:{place.ports['tcp']}")


@proxy(reaches="tcp")
def tunnel_to_a_number(place: Place) -> None:
    tunnel("tunnel_to_a_number", f"2130706433:{place.ports['tcp']}")


@proxy(reaches="tcp", doubtful="a resolver that knows no localhost with a dot")
def tunnel_to_a_name_with_a_dot(place: Place) -> None:
    tunnel("tunnel_to_a_name_with_a_dot", f"localhost.:{place.ports['tcp']}")


@proxy(reaches="tcp")
def tunnel_to_mapped_ipv6(place: Place) -> None:
    tunnel("tunnel_to_mapped_ipv6", f"[::ffff:127.0.0.1]:{place.ports['tcp']}")


@proxy(reaches="tcp")
def tunnel_to_no_address(place: Place) -> None:
    tunnel("tunnel_to_no_address", f"0.0.0.0:{place.ports['tcp']}")


@proxy(reaches="tcp")
def tunnel_to_another_port_of_a_listed_host(place: Place) -> None:
    more = f"Host: 127.0.0.1:{place.ports['listed']}\r\n"
    tunnel("tunnel_to_another_port_of_a_listed_host", f"127.0.0.1:{place.ports['tcp']}", more)


@proxy(reaches="tcp")
def get_with_a_listed_host_header(place: Place) -> None:
    url = f"http://127.0.0.1:{place.ports['tcp']}"
    get("get_with_a_listed_host_header", url, f"127.0.0.1:{place.ports['listed']}")


@proxy(reaches="tcp")
def get_after_a_listed_request(place: Place) -> None:
    unlisted = f"127.0.0.1:{place.ports['tcp']}"
    after = f"127.0.0.1:{place.ports['listed']}"
    get("get_after_a_listed_request", f"http://{unlisted}", unlisted, after=after)
