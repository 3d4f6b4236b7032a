"""JSON that is typed on a command line."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec import Raw

from stepwell.cli.problems import CommandError
from stepwell.codec import Codec
from stepwell.errors import CodecError


def given_json(text: str, *, what: str) -> bytes:
    """The JSON of an argument: as it is, of a file (`@FILE`), or of stdin (`-`)."""
    if text == "-":
        data = sys.stdin.buffer.read()
    elif text.startswith("@"):
        data = Path(text[1:]).read_bytes()
    else:
        data = text.encode()
    try:
        return msgspec.json.format(data, indent=-1)
    except msgspec.DecodeError as error:
        hint = "quote it for the shell, as in '{\"id\": 7}' or '\"text\"'"
        raise CommandError(f"{what} is not JSON: {error}; {hint}") from None


def plain_json(raw: Raw, codec: Codec | None = None) -> bytes:
    """The JSON that a payload stands for; the payload itself if it is encrypted or elsewhere."""
    try:
        return bytes((codec or Codec()).opened(raw, where="a value"))
    except CodecError:
        return bytes(raw)


def shown_json(data: bytes, *, is_pretty: bool) -> str:
    """For a person in lines, for a program in one."""
    return msgspec.json.format(data, indent=2 if is_pretty else -1).decode()


def encoded(value: object) -> str:
    """Any plain value or Struct as a line of JSON."""
    return msgspec.json.encode(value).decode()
