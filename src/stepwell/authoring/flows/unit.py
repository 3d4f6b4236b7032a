"""One flow while it is compiled: what all its parts share."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from stepwell.authoring.flows.expressions import UNARY, Expressions, Kinds, Text
from stepwell.authoring.flows.graph import Cursor, GraphBuilder, Json, Loose, meet
from stepwell.authoring.flows.hints import Hints
from stepwell.authoring.flows.names import Names
from stepwell.authoring.flows.source import Source

MAX_NODES = 10_000
OBJECT = (BaseException, Exception)


class LoopFrame(Struct, eq=False):
    """A loop around the code. `breaks` are the places that leave it."""

    controller: str
    breaks: list[Cursor]


class TryFrame(Struct, eq=False):
    """A `try` around the code. `raised` are the places where something failed; `kinds` are the exceptions that its
    handlers name, None: all."""

    key: str
    known: frozenset[str]
    raised: list[Cursor]
    kinds: tuple[type[BaseException], ...] | None

    @property
    def error(self) -> str:
        """Where the failure is kept."""
        return f"$error_{self.key}"

    @property
    def caught(self) -> str:
        """Where it says that there was one."""
        return f"$caught_{self.key}"


class FinallyFrame(Struct, eq=False):
    """A `finally` around the code, which runs on each way out."""

    body: list[ast.stmt]


Frame = LoopFrame | TryFrame | FinallyFrame


class Unit:
    """Shared by the parts of the compiler: the graph, the names, and what is around the place in the code."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.source = Source(fn)
        self.names = Names(self.source, fn)
        self.hints = Hints(self.names, self.source.tree)
        self.expressions = Expressions(self.source, self.names, self.hints)
        self.graph = GraphBuilder(self.names.keys())
        self.implementations: dict[str, Any] = {}
        self.flows: dict[str, Any] = {}
        self.frames: tuple[Frame, ...] = ()
        self.returns: list[tuple[Cursor, str]] = []
        self._counts: dict[str, int] = {}

    # --- where we are

    @contextmanager
    def inside(self, frame: Frame) -> Iterator[None]:
        """Compile a block within a frame."""
        before = self.frames
        self.frames = (*before, frame)
        try:
            yield
        finally:
            self.frames = before

    @contextmanager
    def outside(self, frames: tuple[Frame, ...]) -> Iterator[None]:
        """Compile a block as if only these frames were around it."""
        before, self.frames = self.frames, frames
        try:
            yield
        finally:
            self.frames = before

    @property
    def handler(self) -> TryFrame | None:
        """The innermost `try`."""
        return next((frame for frame in reversed(self.frames) if isinstance(frame, TryFrame)), None)

    @property
    def is_in_loop(self) -> bool:
        """Whether the code here runs again and again."""
        return any(isinstance(frame, LoopFrame) for frame in self.frames)

    def fresh(self, name: str) -> str:
        """A number for a construct, counted per kind: `if_1`."""
        self._counts[name] = self._counts.get(name, 0) + 1
        return f"{name}_{self._counts[name]}"

    def refuse(self, node: ast.AST, what: str, instead: str) -> Exception:
        """The error for a place."""
        return self.source.refuse(node, what, instead)

    # --- expressions

    def check_known(self, cursor: Cursor, node: ast.expr) -> None:
        """Refuse variables that are not set on every way to this place."""
        for name in ast.walk(node):
            if not (isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)) or name.id in cursor.known:
                continue
            if name.id in self.names.locals and not self.names.is_inner(name.id):
                raise self.refuse(name, f"{name.id} may not be set here", f"set {name.id} on every way to this line")

    def text(self, cursor: Cursor, node: ast.expr) -> Text:
        """An expression in which nothing is awaited, as text."""
        self.check_known(cursor, node)
        return self.expressions.text(node)

    # --- nodes

    def add(self, cursor: Cursor, id: str, node: Json, at: ast.AST) -> Cursor:
        """Put a node at a place."""
        if len(self.graph.nodes) >= MAX_NODES:
            raise self.refuse(at, f"this flow has more than {MAX_NODES:,} nodes", "make parts of it flows of their own")
        return self.graph.add(cursor, id, node, getattr(at, "lineno", 0))

    def assign(self, cursor: Cursor, values: dict[str, Text], at: ast.AST, name: str = "set") -> Cursor:
        """Set state, in the node just before if that changes nothing."""
        fails = frozenset[type[BaseException]]().union(*(text.fails for text in values.values()))
        self.check_fails(fails, at)
        is_guarded = bool(fails) and self.handler is not None
        if is_guarded:
            self.graph.close()
        texts = {key: text.code for key, text in values.items()}
        behind = self.graph.set(cursor, texts, getattr(at, "lineno", 0), name)
        return self.guard(behind, at) if is_guarded else behind

    def guard(self, cursor: Cursor, at: ast.AST) -> Cursor:
        """Behind a node that may fail: on to the handler if it did."""
        if self.handler is None:
            return cursor
        (loose,) = cursor.edges
        self._keep_failure(self.handler, [loose.source], at, is_first=False)
        return self.route(cursor)

    def guard_branches(self, branches: list[str], at: ast.AST) -> None:
        """Nodes side by side that may fail: the first failure is kept, and where they meet asks for it."""
        frame = self.handler
        if frame is None:
            return
        is_subflow = [self.graph.nodes[id]["uses"] == "subflow" for id in branches]
        for kind in (False, True):
            some = [id for id, is_kind in zip(branches, is_subflow, strict=True) if is_kind is kind]
            if some:
                self._keep_failure(frame, some, at, is_first=True)

    def _keep_failure(self, frame: TryFrame, served: list[str], at: ast.AST, *, is_first: bool) -> None:
        fallback = self.graph.id(f"{served[0]}_failed")
        values = kept_failure(frame, self.graph.nodes[served[0]]["uses"], is_first=is_first)
        node: Json = {"uses": "set", "inputs": "_catch_error", "params": {"values": values}}
        self.add(Cursor((), frozenset()), fallback, node, at)
        for id in served:
            self.graph.configure(id, fallback=fallback)

    def route(self, cursor: Cursor) -> Cursor:
        """Go on to the handler if something failed before this place."""
        frame = self.handler
        if frame is None:
            return cursor
        self.graph.close()
        frame.raised.append(
            Cursor(tuple(loose._replace(condition=frame.caught) for loose in cursor.edges), frame.known)
        )
        return cursor.at(*(loose._replace(condition=f"!{frame.caught}") for loose in cursor.edges))

    def check_fails(self, fails: Kinds, at: ast.AST) -> None:
        """Refuse an expression whose failure a handler is to tell from others: it fails as another type here."""
        for frame in reversed(self.frames):
            if not isinstance(frame, TryFrame):
                continue
            for caught in frame.kinds or ():
                for kind in fails:
                    if caught not in OBJECT and (issubclass(kind, caught) or issubclass(caught, kind)):
                        raise self.refuse(
                            at,
                            f"this may fail, and `except {caught.__name__}` tells failures of steps apart, not "
                            "those of expressions",
                            "write `except Exception`, or compute it in a step",
                        )
            if frame.kinds is None or any(kind in OBJECT for kind in frame.kinds):
                return

    def branch(self, cursor: Cursor, test: Text, at: ast.AST, name: str) -> tuple[Cursor, Cursor]:
        """The places where a test holds and where it does not."""
        if test.code in ("true", "false"):
            dead = cursor.at()
            return (cursor, dead) if test.code == "true" else (dead, cursor)
        id = self.fresh(name)
        if test.fails and self.handler is not None:
            cursor = self.assign(cursor, {f"${id}": test}, at, id)
            test = Text(f"${id}")
        is_plain = len(cursor.edges) == 1 and cursor.edges[0] == Loose(cursor.edges[0].source)
        if not is_plain:
            cursor = self.add(cursor, self.graph.id(id), {"uses": "join"}, at)
        self.graph.close()
        (loose,) = cursor.edges
        yes = cursor.at(loose._replace(condition=test.code))
        no = cursor.at(loose._replace(condition=negated(test)))
        return yes, no

    def meet(self, *cursors: Cursor) -> Cursor:
        """Where several places lead to the same code."""
        self.graph.close()
        return meet(*cursors)


def kept_failure(frame: TryFrame, uses: str, *, is_first: bool) -> dict[str, str]:
    """What a fallback writes down: the failure as the code would see it. Of a subflow or a batch, the text begins with
    the name of the node and of the item that failed. `is_first`: there may be one already."""
    text, short = f"$text_{frame.key}", 'input.message.slice(input.message.indexOf(": ") + 2)'
    values = {text: short} if uses in ("subflow", "batch-scatter") else {}
    message = text if values else "input.message"
    if uses == "subflow":
        is_item = f'{text}.startsWith("item ") && {text}.includes(" of batch ")'
        message = f'{is_item} ? {text}.slice({text}.indexOf(": ") + 2) : {text}'
    failure = f"{{message: {message}, type: input.type, types: input.types}}" if values else "input"
    return {
        **values,
        frame.error: f"{frame.caught} ? {frame.error} : {failure}" if is_first else failure,
        frame.caught: "true",
    }


def negated(test: Text) -> str:
    """The text of the opposite."""
    if test.level == UNARY and test.code.startswith("!"):
        return test.code[1:]
    return f"!{test.after_sign()}"
