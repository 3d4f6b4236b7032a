"""Hook tokens: who they belong to, and the proof that the run itself issued them.

A generated token carries its run and command, and a MAC keyed with the run's secret seed; so it needs no table, cannot
be guessed (128 bits), and is resolved by reading one frame.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from msgspec import Struct

from stepwell.model.ids import CommandId, RunId

_PREFIX = "hk_"


class HookToken(Struct, frozen=True):
    """A generated token, taken apart. Not yet verified."""

    run: RunId
    base: int
    command: CommandId
    proof: str


def make_token(run: RunId, base: int, command: CommandId, seed: str) -> str:
    """The token of a hook; the same on every replay."""
    return _PREFIX + ".".join([_packed(run), _packed(command), str(base), _proof(run, base, command, seed)])


def parse_token(token: str) -> HookToken | None:
    """None if this is not a generated token (it may be a custom one)."""
    parts = token.removeprefix(_PREFIX).split(".")
    if not token.startswith(_PREFIX) or len(parts) != 4 or not parts[2].isdecimal():
        return None
    try:
        return HookToken(RunId(_unpacked(parts[0])), int(parts[2]), CommandId(_unpacked(parts[1])), parts[3])
    except ValueError:
        return None


def is_genuine(token: HookToken, seed: str) -> bool:
    """Whether the run with this seed issued it; in constant time."""
    return hmac.compare_digest(token.proof.encode(), _proof(token.run, token.base, token.command, seed).encode())


def _proof(run: RunId, base: int, command: CommandId, seed: str) -> str:
    digest = hmac.digest(bytes.fromhex(seed), f"{run}\0{base}\0{command}".encode(), sha256)
    return urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def _packed(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpacked(text: str) -> str:
    return urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
