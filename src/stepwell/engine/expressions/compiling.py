"""Syntax to closures: each takes the `Work` of an evaluation and gives a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import UNSET

from stepwell.engine.expressions.functions import FUNCTIONS, Function
from stepwell.engine.expressions.methods import METHODS, invoke
from stepwell.engine.expressions.operators import OPERATIONS, negative, positive, type_of
from stepwell.engine.expressions.sources import Source
from stepwell.engine.expressions.syntax import (
    Binary,
    Call,
    Choice,
    Constant,
    Fields,
    Group,
    Items,
    Member,
    Method,
    Name,
    Syntax,
    Template,
    Unary,
)
from stepwell.engine.expressions.values import is_nullish, key_of, kind, property_of, text_of, truthy
from stepwell.engine.expressions.work import Refusal, Work

Code: TypeAlias = Callable[[Work], Any]
Step: TypeAlias = Callable[[Work, Any], Any]
"""One link of a chain: from the value before it to the next."""

ANY = "context"
"""The name of everything. An expression that takes a name from data, or the whole context, reads this."""

_DOTTED = ("_outputs", "_inputs")
"""Names that only mean something with the one after them."""


class Compiling:
    """One expression on its way. `reads` and `makes` are complete when the root is compiled."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.reads: set[str] = set()
        self.makes = False  # whether it puts arrays or objects together

    def compile(self, syntax: Syntax) -> Code:
        """The code of a part."""
        return _COMPILERS[type(syntax)](self, syntax)

    def constant(self, syntax: Constant) -> Code:
        value = syntax.value
        return lambda _work: value

    def group(self, syntax: Group) -> Code:
        return self.compile(syntax.inside)

    def chain(self, syntax: Name | Member | Method) -> Code:
        """A name or value and all that follows it with dots and brackets, up to which a `?.` can skip."""
        links: list[Member | Method] = []
        base: Syntax = syntax
        while isinstance(base, Member | Method):
            links.append(base)
            base = base.of
        links.reverse()
        start = self._head(base, links) if isinstance(base, Name) else self.compile(base)
        if not links:
            return start
        steps: list[tuple[bool, Step]] = []
        for link in links:
            step = self._method(link) if isinstance(link, Method) else self._member(link)
            steps.append((link.optional, step))

        def run(work: Work) -> Any:
            value = start(work)
            for optional, step in steps:
                if optional and (value is None or value is UNSET):
                    return UNSET
                value = step(work, value)
            return value

        return run

    def call(self, syntax: Call) -> Code:
        function = FUNCTIONS.get(syntax.function)
        if function is None:
            known = ", ".join(FUNCTIONS)
            raise self.source.error(f"there is no function {syntax.function[:60]}(); there are: {known}", syntax.at)
        self._count(syntax, syntax.function, function.least, function.most)
        self.makes |= syntax.function in ("list", "values", "Object.values", "sorted")
        return self._calling(function, tuple(map(self.compile, syntax.arguments)), syntax.at)

    def unary(self, syntax: Unary) -> Code:
        operand = self.compile(syntax.operand)
        if syntax.operator == "!":
            return lambda work: not truthy(operand(work))
        if syntax.operator == "typeof":
            return lambda work: type_of(operand(work))
        operation = negative if syntax.operator == "-" else positive
        failed, at = self.source.failed, syntax.at

        def run(work: Work) -> Any:
            value = operand(work)
            try:
                return operation(value)
            except Refusal as refusal:
                raise failed(str(refusal), at) from None

        return run

    def binary(self, syntax: Binary) -> Code:
        left, right = self.compile(syntax.left), self.compile(syntax.right)
        if syntax.operator in _DECIDING:
            return _DECIDING[syntax.operator](left, right)
        operation = OPERATIONS[syntax.operator]
        failed, at = self.source.failed, syntax.sign

        def run(work: Work) -> Any:
            first, second = left(work), right(work)
            try:
                return operation(work, first, second)
            except Refusal as refusal:
                raise failed(str(refusal), at) from None

        return run

    def choice(self, syntax: Choice) -> Code:
        test, yes, no = self.compile(syntax.test), self.compile(syntax.yes), self.compile(syntax.no)
        return lambda work: yes(work) if truthy(test(work)) else no(work)

    def items(self, syntax: Items) -> Code:
        """undefined in an array is null, as JSON writes it."""
        self.makes = True
        items = tuple(map(self.compile, syntax.items))

        def run(work: Work) -> Any:
            return [None if (value := item(work)) is UNSET else value for item in items]

        return run

    def fields(self, syntax: Fields) -> Code:
        """A field that is undefined is left out, as JSON does."""
        self.makes = True
        fields = tuple((self._key(key), self.compile(value)) for key, value in syntax.fields)

        def run(work: Work) -> Any:
            made = {}
            for key, field in fields:
                name = key(work)
                if (value := field(work)) is not UNSET:
                    made[name] = value
                else:
                    made.pop(name, None)
            return made

        return run

    def template(self, syntax: Template) -> Code:
        parts = tuple(map(self.compile, syntax.parts))
        places = tuple(part.at for part in syntax.parts)
        failed = self.source.failed

        def run(work: Work) -> Any:
            texts: list[str] = []
            length = 0
            for part, at in zip(parts, places, strict=True):
                value = part(work)
                try:
                    texts.append(text_of(value))
                    length += len(texts[-1])
                    work.room_for_text(length)
                except Refusal as refusal:
                    raise failed(str(refusal), at) from None
            return "".join(texts)

        return run

    def _head(self, base: Name, links: list[Member | Method]) -> Code:
        """Where a chain begins. `context["x"]` is the name x. Takes the links that belong to the name."""
        name = base.name
        if name == ANY and links and isinstance(links[0], Member):
            key = links.pop(0).key  # type: ignore[union-attr]
            if not (isinstance(key, Constant) and isinstance(key.value, str)):
                return self._dynamic(key)
            name = key.value
        if name in _DOTTED and links and isinstance(links[0], Member):
            key = links[0].key
            if isinstance(key, Constant) and isinstance(key.value, str):
                links.pop(0)
                name = f"{name}.{key.value}"
        self.reads.add(name)
        return lambda work: work.lookup(name)

    def _dynamic(self, syntax: Syntax) -> Code:
        self.reads.add(ANY)
        key = self._key(syntax)
        return lambda work: work.lookup(key(work))

    def _key(self, syntax: Syntax) -> Code:
        code = self.compile(syntax)
        failed, at = self.source.failed, syntax.at

        def run(work: Work) -> str:
            value = code(work)
            if type(value) is str:
                return value
            try:
                return key_of(value)
            except Refusal as refusal:
                raise failed(str(refusal), at) from None

        return run

    def _member(self, link: Member) -> Step:
        nothing = self._nothing(link)
        if isinstance(link.key, Constant) and isinstance(link.key.value, str):
            return _property(link.key.value, nothing)
        key = self._key(link.key)

        def run(work: Work, value: Any) -> Any:
            if value is None or value is UNSET:
                raise nothing(value)
            return property_of(value, key(work))

        return run

    def _method(self, link: Method) -> Step:
        name = link.method
        method = METHODS.get(name)
        if method is None:
            known = ", ".join(METHODS)
            raise self.source.error(f"there is no method {name[:60]}(); there are: {known}", link.sign)
        self._count(link, name, method.least, method.most)
        self.makes |= name in ("concat", "slice")
        arguments = tuple(map(self.compile, link.arguments))
        failed, at = self.source.failed, link.sign

        def run(work: Work, value: Any) -> Any:
            given = [argument(work) for argument in arguments]
            try:
                return invoke(name, work, value, given)
            except Refusal as refusal:
                raise failed(str(refusal), at) from None

        return run

    def _nothing(self, link: Member) -> Callable[[Any], Exception]:
        source, of, key = self.source, link.of, link.key

        def refused(value: Any) -> Exception:
            owner = source.excerpt(of.at, of.end)
            reason = f"{owner} is {kind(value)}, which has no properties; `?.` gives undefined instead"
            return source.failed(reason, key.at)

        return refused

    def _calling(self, function: Function, arguments: tuple[Code, ...], at: int) -> Code:
        run_it, failed = function.run, self.source.failed

        def run(work: Work) -> Any:
            given = [argument(work) for argument in arguments]
            try:
                return run_it(work, *given)
            except Refusal as refusal:
                raise failed(str(refusal), at) from None

        return run

    def _count(self, syntax: Call | Method, name: str, least: int, most: int) -> None:
        given = len(syntax.arguments)
        if not least <= given <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise self.source.error(f"{name}() takes {wanted} arguments, not {given}", syntax.at)


def _property(key: str, nothing: Callable[[Any], Exception]) -> Step:
    """The commonest link: a key that is known."""

    def run(_work: Work, value: Any) -> Any:
        if type(value) is dict:
            return value.get(key, UNSET)
        if value is None or value is UNSET:
            raise nothing(value)
        return property_of(value, key)

    return run


def _both(left: Code, right: Code) -> Code:
    return lambda work: right(work) if truthy(value := left(work)) else value


def _either(left: Code, right: Code) -> Code:
    return lambda work: value if truthy(value := left(work)) else right(work)


def _instead(left: Code, right: Code) -> Code:
    return lambda work: right(work) if is_nullish(value := left(work)) else value


_DECIDING = {"&&": _both, "||": _either, "??": _instead}
"""Operators that compute their right side only if they need it."""

_COMPILERS: dict[type, Callable[[Compiling, Any], Code]] = {
    Constant: Compiling.constant,
    Name: Compiling.chain,
    Member: Compiling.chain,
    Method: Compiling.chain,
    Call: Compiling.call,
    Group: Compiling.group,
    Unary: Compiling.unary,
    Binary: Compiling.binary,
    Choice: Compiling.choice,
    Items: Compiling.items,
    Fields: Compiling.fields,
    Template: Compiling.template,
}
