"""An HTTP client that calls only where `UrlPolicy` allows. Needs httpx."""

from __future__ import annotations

from typing import Any

import httpx

from stepwell.server.access.guard import (
    CheckedUrl,
    Resolve,
    UnresolvedError,
    UrlError,
    UrlPolicy,
    checked_place,
    resolved,
)

_TIMEOUT_S = 10.0
_TRIED_MAX = 3


def guarded_client(policy: UrlPolicy, *, resolve: Resolve = resolved, **options: Any) -> httpx.AsyncClient:
    """A client for URLs that users set. `options` are those of `httpx.AsyncClient` that do not say how to connect.

    Each request is checked, and connects to the addresses that were checked, under the name that the URL has. Redirects
    are answers like others, and proxies of the environment are not used. Refused URLs raise `UrlError`.
    """
    verify = options.pop("verify", True)
    taken = {"transport", "mounts", "proxy", "trust_env", "follow_redirects"} & set(options)
    if taken:
        raise TypeError(f"guarded_client() decides over {', '.join(sorted(taken))} by itself")
    options.setdefault("timeout", _TIMEOUT_S)
    transport = _GuardedTransport(policy, resolve, verify)
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, **options)


class _GuardedTransport(httpx.AsyncBaseTransport):
    def __init__(self, policy: UrlPolicy, resolve: Resolve, verify: Any) -> None:
        self._policy = policy
        self._resolve = resolve
        # Connections are known by address here, and two hosts may share one. So none is used twice: the second host
        # would get what was encrypted for the first.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=verify, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.userinfo:
            raise UrlError("a URL may not hold a user or password; put them into headers")
        try:
            checked = await checked_place(
                str(url), url.scheme, url.raw_host.decode("ascii"), url.port, policy=self._policy, resolve=self._resolve
            )
        except UnresolvedError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        addresses = checked.addresses[:_TRIED_MAX]
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_to(address, checked, request))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # nothing was sent yet
        return await self._inner.handle_async_request(_to(addresses[-1], checked, request))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _to(address: str, checked: CheckedUrl, request: httpx.Request) -> httpx.Request:
    """The request to an address; the header Host stays as it is, and the certificate must be the host's."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": checked.host},
    )
