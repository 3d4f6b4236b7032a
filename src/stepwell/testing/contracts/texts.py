"""Texts and payloads that storage likes to change on the way."""

from __future__ import annotations

from random import Random

PRINTABLE = (
    "caf\u00e9",
    "cafe\u0301",  # looks the same, and is another text
    "Caf\u00e9",
    "漢字",
    "\U0001f680",
    "a_c",
    "abc",
    "a%c",
    "a*c",
    "a?c",
    "a\\c",
    "a[b]c",
    "o'c",
    '"c"',
    "a;--",
    "{{a}}",
    "1",
    "01",
    "1.0",
    "null",
)
"""Texts that a run's id may hold, all different."""

NAMES = (
    *PRINTABLE,
    " ",
    "a",
    "A",
    "a ",
    " a",
    "a\0",
    "a\0b",
    "\0",
    "a\nb",
    "a\r\nb",
    "\t",
    "\x1a0",
    "\x1a1",
    "a\x1ab",
    "\x7f\x80\x9f",
    "\u2028\ufeff\ufffd\uffff",
    "\U0010ffff",
    "n" * 199 + "\U0001f680",
    "n" * 199,
    "n" * 263 + "\U0001f680",
    "n" * 263 + "\U0001f681",
)
"""Names of all kinds, of 1 to 264 characters, all different."""

TEXTS = (*NAMES, "", "x" * 10_000)
"""Any text at all, all different."""

PREFIXES = ("a_b", "a%b", "a*b", "a\\b", "a?b", "a[b", "a'b", "aéb", "a\0b", "A_B")
"""What a search by pattern would take for more than it is."""

INTEGERS = (2**31 - 1, 2**31, 2**32 + 1, 2**53 - 2, 2**53 - 1)
"""Integers that a float, or 32 bits, would not keep apart."""

LARGE = 10 * 2**20


def large(limit: int, seed: int = 0) -> bytes:
    """Bytes that do not compress: 10 MB, or as many as fit."""
    return Random(seed).randbytes(min(limit, LARGE))


PAYLOADS = (b"", b"\0", b"a\0b\0", b"\xff\xfe\x00\x80", b"\r\n", b"null", b'"', bytes(range(256)))
"""Small payloads of any bytes."""
