"""An expression as values, whoever parsed it. `at` and `end` are offsets in the text."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct


class Constant(Struct, frozen=True):
    """A string, a number, true, false, null, or UNSET for `undefined`."""

    value: Any
    at: int
    end: int


class Name(Struct, frozen=True):
    """What the lookup is asked for."""

    name: str
    at: int
    end: int


class Member(Struct, frozen=True):
    """`of.key`, `of[key]`; `optional` with a question mark."""

    of: Syntax
    key: Syntax
    optional: bool
    at: int
    end: int


class Method(Struct, frozen=True):
    """`of.method(...)`. `sign` is where the method's name stands."""

    of: Syntax
    method: str
    arguments: tuple[Syntax, ...]
    optional: bool
    sign: int
    at: int
    end: int


class Call(Struct, frozen=True):
    """`function(...)`; the function may be one of `Math` and its like."""

    function: str
    arguments: tuple[Syntax, ...]
    at: int
    end: int


class Group(Struct, frozen=True):
    """Parentheses. They end what a `?.` before them skips."""

    inside: Syntax
    at: int
    end: int


class Unary(Struct, frozen=True):
    """`operator operand`. `at` is where the operator stands."""

    operator: str
    operand: Syntax
    at: int
    end: int


class Binary(Struct, frozen=True):
    """`left operator right`. `at` is where it begins, `sign` where the operator stands."""

    operator: str
    left: Syntax
    right: Syntax
    sign: int
    at: int
    end: int


class Choice(Struct, frozen=True):
    """`test ? yes : no`."""

    test: Syntax
    yes: Syntax
    no: Syntax
    at: int
    end: int


class Items(Struct, frozen=True):
    """`[...]`."""

    items: tuple[Syntax, ...]
    at: int
    end: int


class Fields(Struct, frozen=True):
    """`{...}`."""

    fields: tuple[tuple[Syntax, Syntax], ...]
    at: int
    end: int


class Template(Struct, frozen=True):
    """`` `text ${...}` ``."""

    parts: tuple[Syntax, ...]
    at: int
    end: int


Syntax: TypeAlias = (
    Constant | Name | Member | Method | Call | Group | Unary | Binary | Choice | Items | Fields | Template
)
