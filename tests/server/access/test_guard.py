"""Which URLs may be called, and at which addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.errors import DefinitionError
from stepwell.server.access import CheckedUrl, UrlError, UrlPolicy, checked_url
from stepwell.server.access.addresses import is_public
from stepwell.server.access.guard import UnresolvedError
from tests.server.access.support import play

PUBLIC, PUBLIC_6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
PRIVATE = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1"),
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:93.184.215.14", "::ffff:0:7f00:1", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "4000::1"),
)


def checked(
    url: str, policy: UrlPolicy | None = None, *, at: Sequence[str] = (PUBLIC,), error: Exception | None = None
) -> CheckedUrl:
    async def resolve(host: str, port: int) -> Sequence[str]:
        if error is not None:
            raise error
        return at

    return asyncio.run(checked_url(url, policy=policy or UrlPolicy(), resolve=resolve))


def test_a_public_host_may_be_called_at_the_addresses_that_it_has_now() -> None:
    found = checked("https://Example.com./hooks?a=1#b", at=[PUBLIC, PUBLIC_6])

    assert found == CheckedUrl(
        url="https://Example.com./hooks?a=1#b",
        scheme="https",
        host="example.com",
        port=443,
        addresses=(PUBLIC, PUBLIC_6),
    )


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_may_not_be_called(address: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(UrlError, match="is at an address that is not public"):
        checked(f"http://{literal}/")
    with pytest.raises(UrlError, match="is at an address that is not public"):
        checked("http://example.com/", at=[PUBLIC, address])


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_python_knows_to_be_private_is_not_public(address: object) -> None:
    found = ip_address(str(address))
    if not found.is_global or found.is_multicast:
        assert not is_public(found)


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6, "1.1.1.1", "2a00:1450:4001::1", "172.15.0.1", "172.32.0.1"])
def test_what_is_public_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.1.2", "1.2.3.256", "example.0x1"],
)
def test_numbers_that_may_be_addresses_are_refused(host: str) -> None:
    with pytest.raises(UrlError, match="no IPv4 address; write four numbers"):
        checked(f"http://{host}/")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://example.com/", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with"),
        ("//example.com/", "must begin with"),
        ("https:///path", "must begin with"),
        ("example.com", "must begin with"),
        ("", "is no URL"),
        ("https://user@example.com/", "may not hold a user"),
        ("https://user:pass@example.com/", "may not hold a user"),
        ("https://@example.com/", "may not hold a user"),
        ("https://example.com\\@127.0.0.1/", "is no URL"),
        ("https://exa mple.com/", "is no URL"),
        ("https://example.com/\r\nHost: x", "is no URL"),
        ("https://example.com/é", "is no URL"),
        ("https://example.com/" + "a" * 8192, "is no URL"),
        ("https://example.com:99999/", "is no URL"),
        ("https://example.com:x/", "is no URL"),
        ("https://[::1/", "is no URL"),
        ("https://[v1.x]/", "is no"),
        ("https://%31%32%37.0.0.1/", "no name of a host"),
        ("https://exa_mple..com/", "no name of a host"),
        ("https://" + "a" * 64 + ".com/", "no name of a host"),
        ("https://example.com:22/", "port 22 of example.com may not be called; allowed are 80, 443"),
        ("https://example.com:0/", "port 0 of example.com"),
    ],
)
def test_what_is_no_url_to_call_is_told(url: str, error: str) -> None:
    with pytest.raises(UrlError, match=error):
        checked(url)


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_any_text_is_a_checked_url_or_an_error(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com{text}"):
        try:
            found = checked(url)
        except UrlError:
            continue
        assert found.addresses


def test_a_host_without_addresses_may_come_later() -> None:
    with pytest.raises(UnresolvedError, match=r"the host example\.com was not found: nobody knows"):
        checked("https://example.com", error=OSError("nobody knows"))
    with pytest.raises(UnresolvedError, match="has no address"):
        checked("https://example.com", at=[])


def test_a_resolver_that_hangs_is_left() -> None:
    async def hang(host: str, port: int) -> Sequence[str]:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def test(place: object) -> None:
        with pytest.raises(UnresolvedError, match="not found within 5 s"):
            await checked_url("https://example.com", policy=UrlPolicy(), resolve=hang)

    play(test)


@pytest.mark.parametrize(
    ("policy", "url", "at"),
    [
        (UrlPolicy(hosts=("hooks.internal",)), "https://hooks.internal/", "10.0.0.1"),
        (UrlPolicy(hosts=("Hooks.Internal.",)), "https://hooks.internal/", "10.0.0.1"),
        (UrlPolicy(hosts=("*.internal",)), "https://a.b.internal/", "10.0.0.1"),
        (UrlPolicy(hosts=("hooks.internal:8080",)), "http://hooks.internal:8080/", "10.0.0.1"),
        (UrlPolicy(hosts=("127.0.0.1:8080",)), "http://127.0.0.1:8080/", ""),
        (UrlPolicy(hosts=("[::1]:8080",)), "http://[::1]:8080/", ""),
        (UrlPolicy(networks=("10.1.0.0/16",)), "https://any.example/", "10.1.2.3"),
        (UrlPolicy(networks=("fd00::/8",)), "https://any.example/", "fd00::1"),
        (UrlPolicy(ports=None), "https://any.example:9/", PUBLIC),
        (UrlPolicy(networks=("169.254.169.254",)), "http://169.254.169.254/latest/", ""),
    ],
)
def test_a_policy_allows_more(policy: UrlPolicy, url: str, at: str) -> None:
    assert checked(url, policy, at=[at]).addresses


@pytest.mark.parametrize(
    ("policy", "url", "at"),
    [
        (UrlPolicy(hosts=("hooks.internal",)), "https://a.hooks.internal/", "10.0.0.1"),
        (UrlPolicy(hosts=("hooks.internal",)), "https://hooks.internal:8080/", "10.0.0.1"),
        (UrlPolicy(hosts=("hooks.internal:8080",)), "https://hooks.internal/", "10.0.0.1"),
        (UrlPolicy(hosts=("*.internal",)), "https://internal/", "10.0.0.1"),
        (UrlPolicy(hosts=("*.internal",)), "https://xinternal/", "10.0.0.1"),
        (UrlPolicy(networks=("10.1.0.0/16",)), "https://any.example/", "10.2.0.1"),
        (UrlPolicy(networks=("10.1.0.0/16",)), "https://any.example/", "::ffff:10.1.0.1"),
        (UrlPolicy(schemes=("https",)), "http://example.com/", PUBLIC),
        (UrlPolicy(hosts=("meta.internal",)), "http://meta.internal/", "169.254.169.254"),
        (UrlPolicy(networks=("0.0.0.0/0",)), "http://169.254.169.254/", ""),
    ],
)
def test_a_policy_allows_no_more_than_it_says(policy: UrlPolicy, url: str, at: str) -> None:
    with pytest.raises(UrlError):
        checked(url, policy, at=[at])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"networks": ("10.0.0.1/8",)}, "write 10.1.0.0/16, for example"),
        ({"hosts": ("http://x",)}, "is no host"),
        ({"hosts": ("a/b",)}, "is no host"),
        ({"hosts": ("",)}, "is no host"),
        ({"hosts": ("a.*.b",)}, "is no host"),
        ({"hosts": ("x:y",)}, "is no host"),
        ({"schemes": ("ftp",)}, "cannot be called"),
    ],
)
def test_a_policy_that_makes_no_sense_is_told(options: dict[str, tuple[str, ...]], error: str) -> None:
    with pytest.raises(DefinitionError, match=error):
        UrlPolicy(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", PRIVATE)
def test_the_table_of_addresses_has_them_all(address: str) -> None:
    assert not is_public(ip_address(address))


def test_names_are_asked_of_the_system() -> None:
    policy = UrlPolicy(hosts=("localhost",))
    found = asyncio.run(checked_url("http://localhost/", policy=policy))
    assert {"127.0.0.1", "::1"} & set(found.addresses)
    with pytest.raises(UrlError, match="not public"):
        asyncio.run(checked_url("http://localhost/", policy=UrlPolicy()))
