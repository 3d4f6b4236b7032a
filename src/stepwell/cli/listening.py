"""The socket that a server takes connections from, and whether strangers can reach it."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address

from stepwell.cli.problems import CommandError

_PORT_MAX = 65_535


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at this address, which does not listen yet; port 0 takes a free one. `CommandError`."""
    if not 0 <= port <= _PORT_MAX:
        raise CommandError(f"--port {port}: give a number up to {_PORT_MAX}; 0 takes a free one")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise CommandError(f"--host {host}: there is no such address; 127.0.0.1 is this machine, 0.0.0.0 all") from None
    family, kind, protocol, _, address = min(found, key=lambda item: item[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed does not hold the port
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CommandError(_why_not(error, host, port)) from None
    return listener


def inherited_socket(number: int) -> socket.socket:
    """The socket that the starter of this process has left open. `CommandError`."""
    try:
        return socket.socket(fileno=number)
    except OSError as error:
        raise CommandError(f"--fd {number}: this is no open socket ({error.strerror})") from None


def url_of(listener: socket.socket) -> str:
    """Where clients find it."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return f"http://[{name[0]}]:{name[1]}" if ":" in name[0] else f"http://{name[0]}:{name[1]}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    name = listener.getsockname()
    return isinstance(name, tuple) and ip_address(name[0]).is_loopback


def _why_not(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is taken; end what has it, or give another --port (0 takes a free one)"
        case errno.EACCES:
            return f"port {port} needs more rights than this user has; give a --port from 1024 on"
        case errno.EADDRNOTAVAIL:
            return f"--host {host} is no address of this machine; 127.0.0.1 is itself, 0.0.0.0 all that it has"
        case _:
            return f"cannot listen on {host}, port {port}: {error.strerror}"
