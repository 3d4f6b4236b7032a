"""URLs that users set, and this server calls: none of them may reach into the network that the server is in.

A host is resolved once, here, and its addresses are what is connected to. So it cannot have another address by then.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.server.access.addresses import METADATA, Address, is_public

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host; `OSError` if there are none."""

_URL_MAX = 8192
_ADDRESSES_MAX = 8
_RESOLVE_WITHIN_S = 5.0
_PRINTABLE = re.compile(r"[!-\[\]-~]+")  # ASCII without blanks and backslashes
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}


class UrlError(DefinitionError):
    """A URL that this server will not call."""


class UnresolvedError(UrlError):
    """A URL whose host has no address, at least for now."""


class UrlPolicy(Struct, frozen=True, kw_only=True):
    """Which URLs may be called: by default http and https on their own ports, at public addresses.

    `hosts` are also called if their addresses are not public: `name`, `*.name` for all below it, or `name:port`, which
    allows that port. `networks` are addresses that are allowed to any host, as `10.1.0.0/16`. `ports` None: any.
    Addresses where clouds tell credentials must be in `networks` by themselves, as `169.254.169.254`.
    """

    schemes: tuple[str, ...] = ("https", "http")
    ports: tuple[int, ...] | None = (80, 443)
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for scheme in self.schemes:
            if scheme not in _PORTS:
                raise DefinitionError(f"UrlPolicy(schemes): {scheme!r} cannot be called; there are: http, https")
        for network in self.networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise DefinitionError(f"UrlPolicy(networks): {error}; write 10.1.0.0/16, for example") from None
        for host in self.hosts:
            _pattern(host)

    def allows_port(self, host: str, port: int) -> bool:
        """Whether this port of this host may be called."""
        return self.ports is None or port in self.ports or any(_fits(item, host, port) for item in self.hosts)

    def allows(self, host: str, port: int, address: Address) -> bool:
        """Whether this host may be called at this address."""
        if address in METADATA:
            return any(ip_network(network).num_addresses == 1 for network in self._with(address))
        if is_public(address) or any(self._with(address)):
            return True
        return any(_fits(item, host, port) or _fits(item, host, None) for item in self.hosts)

    def _with(self, address: Address) -> list[str]:
        return [network for network in self.networks if address in ip_network(network)]


class CheckedUrl(Struct, frozen=True, kw_only=True):
    """A URL that may be called, if at one of these addresses."""

    url: str
    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]


async def resolved(host: str, port: int) -> Sequence[str]:
    """What the system says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


async def checked_url(url: str, *, policy: UrlPolicy, resolve: Resolve = resolved) -> CheckedUrl:
    """The URL with the addresses to connect to. `UrlError`."""
    if len(url) > _URL_MAX or _PRINTABLE.fullmatch(url) is None:
        raise UrlError(f"the URL {url[:100]!r} is no URL: up to {_URL_MAX} ASCII characters, blanks as %20")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UrlError(f"the URL {url[:100]!r} is no URL: {error}") from None
    if "@" in parts.netloc:
        raise UrlError("a URL may not hold a user or password; put them into headers")
    if parts.scheme not in _PORTS or not host:
        raise UrlError(f"the URL {url[:100]!r} must begin with {_either(policy.schemes, '://')} and a host")
    if "[" in parts.netloc and ":" not in host:
        raise UrlError(f"the host {host[:100]!r} stands in brackets, and is no IPv6 address")
    return await checked_place(url, parts.scheme, host, port, policy=policy, resolve=resolve)


async def checked_place(
    url: str, scheme: str, host: str, port: int | None, *, policy: UrlPolicy, resolve: Resolve = resolved
) -> CheckedUrl:
    """The same for a URL in parts, so that whoever took it apart for the call is who is checked."""
    if scheme not in policy.schemes:
        raise UrlError(f"the URL {url[:100]!r} must begin with {_either(policy.schemes, '://')}")
    if port is None:
        port = _PORTS[scheme]
    host = host.lower().removesuffix(".")
    literal = _literal(host)
    if not policy.allows_port(host, port):
        allowed = ", ".join(map(str, policy.ports or ()))
        raise UrlError(f"port {port} of {host} may not be called; allowed are {allowed}, and UrlPolicy can allow more")
    addresses = [literal] if literal is not None else await _addresses(host, port, resolve)
    if not all(policy.allows(host, port, address) for address in addresses):
        raise UrlError(
            f"the host {host[:100]} is at an address that is not public; if it shall be called all the same, list it "
            "in UrlPolicy(hosts=...), or its network in UrlPolicy(networks=...)"
        )
    return CheckedUrl(url=url, scheme=scheme, host=host, port=port, addresses=tuple(map(str, addresses)))


async def _addresses(host: str, port: int, resolve: Resolve) -> list[Address]:
    try:
        async with asyncio.timeout(_RESOLVE_WITHIN_S):
            found = await resolve(host, port)
        addresses = [ip_address(text) for text in found]
    except TimeoutError:
        raise UnresolvedError(f"the host {host[:100]} was not found within {_RESOLVE_WITHIN_S:g} s") from None
    except (OSError, ValueError) as error:
        raise UnresolvedError(f"the host {host[:100]} was not found: {error}") from None
    if not addresses:
        raise UnresolvedError(f"the host {host[:100]} has no address")
    return addresses[:_ADDRESSES_MAX]


def _literal(host: str) -> Address | None:
    """The address that a host is; None if it is a name. `UrlError` for what is neither."""
    if ":" in host:
        try:
            return IPv6Address(host.removeprefix("[").removesuffix("]").partition("%")[0])
        except ValueError:
            raise UrlError(f"the host {host[:100]!r} is no IPv6 address") from None
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlError(f"the host {host[:100]!r} is no name of a host; write other alphabets as xn--...")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return IPv4Address(host)
        except ValueError:
            # The system would take 127.1, 0x7f000001 and 017700000001 for an address, others for a name.
            raise UrlError(f"the host {host[:100]!r} is no IPv4 address; write four numbers up to 255") from None
    return None


def _pattern(text: str) -> tuple[str, int | None]:
    """Name and port of an entry of `hosts`."""
    try:
        parts = urlsplit(f"//{text.removeprefix('*.')}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.path or parts.query or "@" in text or "*" in host:
        raise DefinitionError(f"UrlPolicy(hosts): {text!r} is no host; write name, *.name, name:8080 or [::1]:8080")
    return host.removesuffix("."), port


def _fits(pattern: str, host: str, port: int | None) -> bool:
    """Whether an entry of `hosts` is about this host, with this port of it; None: with any."""
    name, of_port = _pattern(pattern)
    if of_port != port:
        return False
    return host.endswith(f".{name}") if pattern.startswith("*.") else host == name


def _either(words: Sequence[str], end: str) -> str:
    return " or ".join(f"{word}{end}" for word in words)
