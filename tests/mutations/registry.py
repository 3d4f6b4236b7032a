"""Deliberate bugs: the product's own code with one thing wrong, in memory only.

A mutation names functions and what to read differently in them. The changed text is compiled and put into the function
as it is, so whoever imported it, or holds a bound method, has the bug; afterwards the old code is put back. If the text
is not there any more, the product has changed, and the mutation must be written anew: that is an error, never silence.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from msgspec import Struct


class MutationError(Exception):
    """A mutation that cannot be made of the code as it is."""


class Edit(Struct, frozen=True):
    """In the function `where` ("module:qualified.name", below `stepwell`), read `new` instead of `old`."""

    where: str
    old: str
    new: str


class Mutation(Struct, frozen=True, kw_only=True):
    """A deliberate bug.

    `stands_for`: a hole (H1 to H29), an invariant ("3") or the commit that mended it.
    """

    name: str
    says: str
    stands_for: str
    edits: tuple[Edit, ...]

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The product has this bug meanwhile."""
        changed: list[tuple[FunctionType, CodeType]] = []
        try:
            for edit in self.edits:
                function = _function(edit.where)
                changed.append((function, function.__code__))
                function.__code__ = _mutated(self.name, function, edit)
            yield
        finally:
            for function, code in reversed(changed):
                function.__code__ = code


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(f"stepwell.{module}")
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    found = inspect.unwrap(getattr(found, "__func__", found))
    assert isinstance(found, FunctionType), where
    return found


def _mutated(name: str, function: FunctionType, edit: Edit) -> CodeType:
    source = _sources.get(function.__code__) or textwrap.dedent(inspect.getsource(function))
    if source.count(edit.old) != 1:
        raise MutationError(
            f"mutation {name!r}: {edit.where} holds {source.count(edit.old)} times {edit.old!r}, not once; "
            "the code has changed, so write the mutation anew"
        )
    source = source.replace(edit.old, edit.new)
    lines = function.__code__.co_firstlineno - 1
    module = compile("\n" * lines + source, function.__code__.co_filename, "exec", dont_inherit=True)
    code = next(const for const in module.co_consts if isinstance(const, CodeType))
    if code.co_freevars != function.__code__.co_freevars:
        raise MutationError(f"mutation {name!r}: {edit.where} refers to variables around it")
    _sources[code] = source
    return code


_sources: dict[CodeType, str] = {}
"""The text of code that was made here, for a second edit of the same function."""
