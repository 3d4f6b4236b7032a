"""Hook tokens: who they belong to, and the proof that the run itself issued them.

A generated token carries its run and command, what its door must know, and a MAC keyed with the run's secret seed; so
it needs no table, cannot be guessed (128 bits) or changed, and is resolved by reading one frame.

A worker elsewhere makes tokens of its own with a key that is good for one generation of one run: from it nobody learns
the seed, nor a token that the run itself issued.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import msgspec
from msgspec import Struct

from stepwell.model.ids import CommandId, RunId

_PREFIX = "hk_"


class HookOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the door of a hook must know before it lets anything in.

    `request`: the hook takes the HTTP request itself, and no value made of it. `respond`: the run answers. `signed_by`:
    the name of the secret that requests are signed with. `methods`: the verbs that complete it, if not the usual ones.
    """

    request: bool = False
    respond: bool = False
    signed_by: str = ""
    methods: tuple[str, ...] = ()

    @property
    def verbs(self) -> tuple[str, ...]:
        """Those that complete it. Without a word not GET: mail programs and chats look at the links that they show."""
        return self.methods or ("POST", "PUT", "PATCH")


NO_OPTIONS = HookOptions()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(HookOptions).decode


class HookToken(Struct, frozen=True):
    """A generated token, taken apart. Not yet verified."""

    run: RunId
    base: int
    command: CommandId
    proof: str
    options: HookOptions = NO_OPTIONS


def make_token(run: RunId, base: int, command: CommandId, seed: str, options: HookOptions = NO_OPTIONS) -> str:
    """The token of a hook; the same on every replay."""
    return ".".join([*_parts(run, base, command, options), _proof(run, base, command, options, seed)])


def hook_key(run: RunId, base: int, seed: str) -> str:
    """What a worker elsewhere makes the tokens of this generation with (hex). Secret."""
    # No text that a proof is made of begins so.
    return hmac.digest(bytes.fromhex(seed), f"\0worker\0{run}\0{base}".encode(), sha256).hex()


def make_worker_token(run: RunId, base: int, command: CommandId, key: str, options: HookOptions = NO_OPTIONS) -> str:
    """The token of a hook that a worker elsewhere opens; `key` is a `hook_key`. The same at each invocation."""
    return ".".join([*_parts(run, base, command, options), _worker_proof(run, base, command, options, key)])


def parse_token(token: str) -> HookToken | None:
    """None if this is not a generated token (it may be a custom one)."""
    parts = token.removeprefix(_PREFIX).split(".")
    if not token.startswith(_PREFIX) or len(parts) not in (4, 5) or not parts[2].isdecimal():
        return None
    try:
        options = _decode(_unpacked(parts[3])) if len(parts) == 5 else NO_OPTIONS
        return HookToken(RunId(_unpacked(parts[0])), int(parts[2]), CommandId(_unpacked(parts[1])), parts[-1], options)
    except (ValueError, msgspec.MsgspecError):
        return None


def is_genuine(token: HookToken, seed: str) -> bool:
    """Whether the run with this seed issued it, or a worker that the run gave its key; in constant time."""
    claims = token.run, token.base, token.command, token.options
    own = _proof(*claims, seed)
    workers = _worker_proof(*claims, hook_key(token.run, token.base, seed))
    given = token.proof.encode()
    # Both are compared, whatever the first says.
    return hmac.compare_digest(given, own.encode()) | hmac.compare_digest(given, workers.encode())


def _parts(run: RunId, base: int, command: CommandId, options: HookOptions) -> list[str]:
    parts = [_PREFIX + _packed(run), _packed(command), str(base)]
    return parts if options == NO_OPTIONS else [*parts, _packed(_encode(options).decode())]


def _proof(run: RunId, base: int, command: CommandId, options: HookOptions, seed: str) -> str:
    # A token's own text has no NUL in it, so that no text of the one kind is one of the other.
    text = f"{run}\0{base}\0{command}" if options == NO_OPTIONS else ".".join(_parts(run, base, command, options))
    return _signed(seed, text)


def _worker_proof(run: RunId, base: int, command: CommandId, options: HookOptions, key: str) -> str:
    return _signed(key, ".".join(_parts(run, base, command, options)))


def _signed(secret: str, text: str) -> str:
    digest = hmac.digest(bytes.fromhex(secret), text.encode(), sha256)
    return urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def _packed(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpacked(text: str) -> str:
    return urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
