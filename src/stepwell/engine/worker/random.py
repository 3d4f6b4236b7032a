"""The random numbers of the wire: mulberry32, seeded with the FNV-1a hash of the run's id.

Each invocation draws the same numbers, and a body in another language would draw them, too.
"""

from __future__ import annotations

from random import Random
from typing import Any

_BITS = 0xFFFFFFFF
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


class WireRandom(Random):
    """A generator for a run. All that `random.Random` can do is made from these draws; 32 bits are all the state."""

    def __init__(self, run: str) -> None:
        super().__init__(run)

    def seed(self, a: Any = None, version: int = 2) -> None:  # noqa: ARG002 - the signature is the base's
        """Begin again, from a text."""
        self._state = _fnv1a(str(a))
        self.gauss_next = None

    def random(self) -> float:
        """A number in [0, 1), of 32 bits."""
        self._state = state = (self._state + 0x6D2B79F5) & _BITS
        mixed = ((state ^ (state >> 15)) * (state | 1)) & _BITS
        mixed ^= (mixed + (((mixed ^ (mixed >> 7)) * (mixed | 61)) & _BITS)) & _BITS
        return (mixed ^ (mixed >> 14)) / 2**32

    def getrandbits(self, k: int, /) -> int:
        """`k` bits: of each draw the uppermost eight, first drawn first."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        count = (k + 7) // 8
        drawn = bytes(int(self.random() * 256) for _ in range(count))
        return int.from_bytes(drawn) >> (8 * count - k)

    def getstate(self) -> tuple[Any, ...]:
        """What `setstate` takes."""
        return (self._state, self.gauss_next)

    def setstate(self, state: tuple[Any, ...]) -> None:
        """Go on from there."""
        self._state, self.gauss_next = state


def _fnv1a(text: str) -> int:
    """Over the UTF-16 code units, as JavaScript counts them."""
    hash, data = _FNV_OFFSET, text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(data[::2], data[1::2], strict=True):
        hash = ((hash ^ (high << 8 | low)) * _FNV_PRIME) & _BITS
    return hash
