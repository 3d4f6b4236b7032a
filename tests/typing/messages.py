"""Signals, events and streams carry the type that they are made with."""

from __future__ import annotations

from typing import Any, assert_type

from stepwell import Event, Signal, Stream

assert_type(Signal("note", str), Signal[str])
assert_type(Event("paid", list[int]), Event[list[int]])
assert_type(Stream("tokens", dict[str, int]), Stream[dict[str, int]])
assert_type(Signal("anything"), Signal[Any])

either: Signal[int | str] = Signal("either", int | str)
