"""Text to syntax, by tree-sitter and its grammar of JavaScript. Imported when an expression first needs it.

The grammar takes all of JavaScript and then some. What the language has is the closed list `_HANDLERS`; the tree is
walked once without recursion before anything else looks at it, so that its depth is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import cast

import tree_sitter_javascript
from msgspec import UNSET
from tree_sitter import Language, Node, Parser

from stepwell.engine.expressions.operators import OPERATIONS
from stepwell.engine.expressions.paths import NO_NAMES, checked_name, number
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
from stepwell.engine.expressions.work import MAX_DEPTH

ALLOWED = "there are literals, names, properties, operators, `? :` and the functions and methods of docs/expressions.md"

_LANGUAGE = Language(tree_sitter_javascript.language())
_WRAPPING = 3  # the program, its statement and the parentheses around the text
_UNARY = ("!", "-", "+", "typeof")
_REFUSED = {
    "assignment_expression": "an assignment",
    "augmented_assignment_expression": "an assignment",
    "arrow_function": "a function",
    "function_expression": "a function",
    "generator_function": "a function",
    "method_definition": "a function",
    "new_expression": "`new`",
    "regex": "a regular expression",
    "spread_element": "`...`",
    "this": "`this`",
    "sequence_expression": "a comma",
    "await_expression": "`await`",
    "yield_expression": "`yield`",
    "update_expression": "`++` or `--`",
    "comment": "a comment",
    "html_comment": "a comment",
    "class": "a class",
}
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LINE_ENDS = ("\n", "\r", "\r\n", "\u2028", "\u2029")


def parse(source: Source) -> Syntax:
    """The syntax of a whole expression."""
    return _Parsing(source).whole()


class _Parsing:
    """One text. Offsets of the parser count bytes, and the parenthesis put before the text; ours count characters."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = f"({source.parsed}\n)".encode()
        self.is_ascii = source.parsed.isascii()

    def whole(self) -> Syntax:
        root = Parser(_LANGUAGE).parse(self.data).root_node
        self._check(root)
        statement = root.children[0]
        wrapped = statement.children[0]
        spans = wrapped.start_byte == 0 and wrapped.end_byte == len(self.data)
        if root.child_count != 1 or wrapped.type != "parenthesized_expression" or not spans:
            raise self.source.error("its parentheses do not match", 0)
        return self.expression(wrapped.named_children[0])

    def expression(self, node: Node) -> Syntax:
        """Whatever it is. The recursion is as deep as the tree, which was measured."""
        handler = _HANDLERS[node.type]
        if handler is None:
            raise self._refuse(f"{self._text(node)[:60]!r}", node)
        return handler(self, node)

    def _at(self, node: Node) -> int:
        """Where it begins in the text."""
        return self._offset(node.start_byte)

    def _end(self, node: Node) -> int:
        return self._offset(node.end_byte)

    def _text(self, node: Node) -> str:
        return self.data[node.start_byte : node.end_byte].decode()

    def _part(self, node: Node, field: str) -> Node:
        child = node.child_by_field_name(field)
        if child is None:
            raise self._refuse(f"{self._text(node)[:60]!r}", node)
        return child

    def _refuse(self, what: str, node: Node) -> Exception:
        return self.source.error(f"{what} is not part of expressions; {ALLOWED}", self._at(node))

    def _offset(self, byte: int) -> int:
        offset = byte - 1 if self.is_ascii else len(self.data[:byte].decode()) - 1
        return min(max(offset, 0), len(self.source.text))

    def _check(self, root: Node) -> None:
        """That the tree is not too deep, holds only what the language has, and no error."""
        for node, depth in _walk(root):
            if depth > MAX_DEPTH + _WRAPPING:
                raise self.source.error(f"it is nested deeper than {MAX_DEPTH}; split it up", self._at(node))
            if node.is_error or node.is_missing:
                raise self._does_not_parse(node)
            if node.is_named and node.type not in _HANDLERS:
                raise self._refuse(_REFUSED.get(node.type, f"{self._text(node)[:60]!r}"), node)

    def _does_not_parse(self, node: Node) -> Exception:
        at = self._at(node)
        rest = self.source.text[at : at + 20]
        return self.source.error(f"it does not parse here: {rest!r}" if rest.strip() else "it ends too early", at)

    def name(self, node: Node) -> Syntax:
        text = self._text(node)
        at, end = self._at(node), self._end(node)
        if text == "undefined":
            return Constant(UNSET, at, end)
        if text in NO_NAMES:
            raise self._refuse(text, node)
        return Name(self._plain(text, at), at, end)

    def constant(self, node: Node) -> Syntax:
        value = {"true": True, "false": False, "null": None}[node.type]
        return Constant(value, self._at(node), self._end(node))

    def number(self, node: Node) -> Constant:
        return Constant(number(self.source, self._text(node), self._at(node)), self._at(node), self._end(node))

    def string(self, node: Node) -> Constant:
        return self._constant_text(node.start_byte + 1, node.end_byte - 1)

    def template(self, node: Node) -> Syntax:
        holes = [child for child in node.named_children if child.type == "template_substitution"]
        starts = [node.start_byte + 1, *(hole.end_byte for hole in holes)]
        ends = [*(hole.start_byte for hole in holes), node.end_byte - 1]
        texts = [self._constant_text(start, end) for start, end in zip(starts, ends, strict=True)]
        parts: list[Syntax] = [texts[0]]
        for hole, text in zip(holes, texts[1:], strict=True):
            parts += self.expression(hole.named_children[0]), text
        return Template(tuple(parts), self._at(node), self._end(node))

    def array(self, node: Node) -> Syntax:
        was_comma = True
        for child in node.children[1:]:
            is_comma = child.type == ","
            if is_comma and was_comma:
                raise self._refuse("a hole in an array", child)
            was_comma = is_comma
        items = tuple(self.expression(child) for child in node.named_children)
        return Items(items, self._at(node), self._end(node))

    def object(self, node: Node) -> Syntax:
        fields = tuple(self._field(child) for child in node.named_children)
        return Fields(fields, self._at(node), self._end(node))

    def group(self, node: Node) -> Syntax:
        return Group(self.expression(node.named_children[0]), self._at(node), self._end(node))

    def member(self, node: Node) -> Syntax:
        return self._member(node, self._key(self._part(node, "property")))

    def subscript(self, node: Node) -> Syntax:
        return self._member(node, self.expression(self._part(node, "index")))

    def call(self, node: Node) -> Syntax:
        function = self._part(node, "function")
        given = self._part(node, "arguments")
        if given.type != "arguments" or any(child.type == "optional_chain" for child in node.children):
            raise self._refuse("this way to call", given)
        arguments = tuple(self.expression(child) for child in given.named_children)
        at, end = self._at(node), self._end(node)
        words = self._text(function)
        if function.type == "identifier" or words.startswith(("Math.", "Object.", "Array.")):
            return Call(words, arguments, at, end)
        if function.type != "member_expression":
            raise self._refuse("a call of anything but a function or method that it has", node)
        method = self._part(function, "property")
        of = self.expression(self._part(function, "object"))
        return Method(of, self._text(method), arguments, _is_optional(function), self._at(method), at, end)

    def unary(self, node: Node) -> Syntax:
        operator = self._text(self._part(node, "operator"))
        if operator not in _UNARY:
            raise self._refuse(f"`{operator}`", node)
        return Unary(operator, self.expression(self._part(node, "argument")), self._at(node), self._end(node))

    def binary(self, node: Node) -> Syntax:
        sign, left, right = (self._part(node, field) for field in ("operator", "left", "right"))
        operator = self._text(sign)
        if operator not in _BINARY:
            raise self._refuse(f"`{operator}`", sign)
        if operator == "**" and left.type == "unary_expression":
            raise self.source.error("write (-a) ** b or -(a ** b)", self._at(left))
        mixed = {operator, *(self._text(self._part(side, "operator")) for side in (left, right) if _is_binary(side))}
        if "??" in mixed and mixed & {"&&", "||"} and operator in ("??", "&&", "||"):
            raise self.source.error("`??` beside `&&` or `||` needs parentheses", self._at(sign))
        operands = self.expression(left), self.expression(right)
        return Binary(operator, *operands, self._at(sign), self._at(node), self._end(node))

    def choice(self, node: Node) -> Syntax:
        test, yes, no = (
            self.expression(self._part(node, field)) for field in ("condition", "consequence", "alternative")
        )
        return Choice(test, yes, no, self._at(node), self._end(node))

    def _field(self, node: Node) -> tuple[Syntax, Syntax]:
        if node.type == "shorthand_property_identifier":
            return self._key(node), self.name(node)
        return self._key(self._part(node, "key")), self.expression(self._part(node, "value"))

    def _key(self, node: Node) -> Syntax:
        if node.type == "computed_property_name":
            return self.expression(node.named_children[0])
        if node.type in ("string", "number"):
            return self.expression(node)
        return Constant(self._plain(self._text(node), self._at(node)), self._at(node), self._end(node))

    def _member(self, node: Node, key: Syntax) -> Syntax:
        of = self.expression(self._part(node, "object"))
        return Member(of, key, _is_optional(node), self._at(node), self._end(node))

    def _plain(self, name: str, at: int) -> str:
        if "\\" in name:
            raise self.source.error("a name with an escape; write the character itself", at)
        return checked_name(self.source, name, at)

    def _constant_text(self, start: int, end: int) -> Constant:
        """What stands between quotes, with the escapes carried out. Two of them may be one character."""
        at = self._offset(start)
        raw = self.source.restored(self.data[start:end].decode())
        try:
            text = _ESCAPE.sub(_character, raw).encode("utf-16", "surrogatepass").decode("utf-16")
        except ValueError:
            raise self.source.error("an escape in this text is no character", at) from None
        return Constant(text, at, self._offset(end))


def _character(match: re.Match[str]) -> str:
    character: str | None = match[4]
    if character is None:
        return chr(int(match[1] or match[2] or match[3], 16))
    following = match.string[match.end() : match.end() + 1]
    if character in "123456789" or (character == "0" and following.isdigit()):
        raise ValueError(character)
    return "" if character in _LINE_ENDS else _ESCAPED.get(character, character)


def _is_optional(node: Node) -> bool:
    return node.child_by_field_name("optional_chain") is not None


def _is_binary(node: Node) -> bool:
    return node.type == "binary_expression"


def _walk(root: Node) -> Iterator[tuple[Node, int]]:
    """All nodes in the order of the text, with their depth."""
    cursor = root.walk()
    while True:
        yield cast("Node", cursor.node), cursor.depth
        if cursor.goto_first_child() or cursor.goto_next_sibling():
            continue
        while cursor.goto_parent():
            if cursor.goto_next_sibling():
                break
        else:
            return


_BINARY = frozenset([*OPERATIONS, "&&", "||", "??"])
_HANDLERS: dict[str, Callable[[_Parsing, Node], Syntax] | None] = {
    "identifier": _Parsing.name,
    "undefined": _Parsing.name,
    "true": _Parsing.constant,
    "false": _Parsing.constant,
    "null": _Parsing.constant,
    "number": _Parsing.number,
    "string": _Parsing.string,
    "template_string": _Parsing.template,
    "array": _Parsing.array,
    "object": _Parsing.object,
    "parenthesized_expression": _Parsing.group,
    "member_expression": _Parsing.member,
    "subscript_expression": _Parsing.subscript,
    "call_expression": _Parsing.call,
    "unary_expression": _Parsing.unary,
    "binary_expression": _Parsing.binary,
    "ternary_expression": _Parsing.choice,
    # parts of the above, which are no expressions themselves
    "program": None,
    "expression_statement": None,
    "property_identifier": None,
    "shorthand_property_identifier": None,
    "pair": None,
    "computed_property_name": None,
    "arguments": None,
    "string_fragment": None,
    "escape_sequence": None,
    "template_substitution": None,
    "optional_chain": None,
}
"""What the language has, and who makes syntax of it."""
