"""Payloads of what the command line shows: as plain JSON, or said to be encrypted."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Raw, Struct, structs

from stepwell.cli.console import note
from stepwell.codec import Codec
from stepwell.errors import CodecError, SealedError
from stepwell.model.failures import Failure

HIDDEN = "(encrypted)"
CURE = "to read it, give the app that has the codec: --app FILE.py, or --app MODULE:NAME"

S = TypeVar("S", bound=Struct)


class Reader:
    """Reads payloads with one codec, and knows whether there were some that it could not decrypt. For programs
    (`is_json`) those stay as they are."""

    def __init__(self, codec: Codec, *, is_json: bool) -> None:
        self._codec = codec
        self._is_json = is_json
        self.has_missed = False

    def plain(self, value: S) -> S:
        """The struct with each payload in it as plain JSON, at any depth."""
        changes = {name: self._plain(getattr(value, name)) for name in value.__struct_fields__}
        if isinstance(value, Failure) and value.is_sealed:
            self.has_missed = True
            if not self._is_json:
                changes["message"] = HIDDEN
        return structs.replace(value, **changes)

    def _plain(self, item: Any) -> Any:
        if isinstance(item, Raw):
            return self._payload(item)
        if isinstance(item, Struct):
            return self.plain(item)
        if isinstance(item, tuple) and item and isinstance(item[0], Struct):
            return tuple([self.plain(part) for part in item])
        if isinstance(item, dict):
            return {key: self._payload(part) if isinstance(part, Raw) else part for key, part in item.items()}
        return item

    def _payload(self, raw: Raw) -> Raw:
        try:
            return self._codec.opened(raw, where="a value")
        except SealedError:
            self.has_missed = True
            return raw if self._is_json else Raw(f'"{HIDDEN}"'.encode())
        except CodecError:  # damaged, or elsewhere: what there is
            return raw

    def tell(self, run: str) -> None:
        """Say what was missed, and the cure."""
        if self.has_missed:
            note(f"some of run {run} is encrypted; {CURE}")
