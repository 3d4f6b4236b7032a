"""How many refused calls are kept one by one, so that who floods the server cannot fill the store."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

PER_ADDRESS = 10
PER_MINUTE = 300
_MINUTE_MS = 60_000


class Refusals:
    """Counts by address and minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._by_address: dict[str, int] = {}
        self._admitted = 0
        self._counted = 0

    def admits(self, address: str, now: int) -> bool:
        """Whether a refused call from there, now, is one to keep."""
        self._turn(now)
        address = _group(address)
        count = self._by_address.get(address, 0)
        if count >= PER_ADDRESS or self._admitted >= PER_MINUTE:
            return False
        # Only addresses with an admitted call are held, so there are never more than `PER_MINUTE`.
        self._by_address[address] = count + 1
        self._admitted += 1
        return True

    def count(self) -> None:
        """One more that is not kept."""
        self._counted += 1

    def counted(self, now: int, *, at_end: bool = False) -> int:
        """How many were only counted, once their minute is over, or `at_end`; then counting begins anew."""
        if not at_end and now // _MINUTE_MS == self._minute:
            return 0
        count, self._counted = self._counted, 0
        return count

    def minute_left(self, now: int) -> float:
        """Seconds until the minute is over."""
        return (_MINUTE_MS - now % _MINUTE_MS) / 1000

    def _turn(self, now: int) -> None:
        if now // _MINUTE_MS != self._minute:
            self._minute = now // _MINUTE_MS
            self._by_address.clear()
            self._admitted = 0


def _group(address: str) -> str:
    """Who has an IPv6 address has all that share its first half."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
