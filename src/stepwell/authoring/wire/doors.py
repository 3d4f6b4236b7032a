"""Where the hooks of a run are reached that is driven elsewhere."""

from __future__ import annotations

from urllib.parse import quote

from msgspec import Struct

from stepwell.model.ids import CommandId, RunId
from stepwell.model.tokens import HookOptions, make_worker_token


class Doors(Struct, frozen=True, kw_only=True):
    """What an orchestrator of ours says about hooks: the `prefix` of their URLs, and the `key` that their tokens are
    made with in the generation `base` of the run."""

    prefix: str
    base: int
    key: str

    @classmethod
    def of(cls, prefix: str | None, key: str | None) -> Doors | None:
        """From the headers `x-stepwell-hooks` and `x-stepwell-hook-key`. None: the orchestrator says nothing of hooks.
        `ValueError` if it says it wrongly."""
        if not prefix or not key:
            return None
        base, _, digits = key.partition(".")
        if not base.isdecimal() or not base.isascii() or len(bytes.fromhex(digits)) == 0:
            raise ValueError("x-stepwell-hook-key: it is a number, a dot, and a key in hex")
        return cls(prefix=prefix, base=int(base), key=digits)

    def token(self, run: RunId, id: str, options: HookOptions) -> str:
        """The token of the hook `id`."""
        return make_worker_token(run, self.base, CommandId(id), self.key, options)

    def url(self, token: str) -> str:
        """Where a token is taken."""
        return f"{self.prefix}{quote(token)}"
