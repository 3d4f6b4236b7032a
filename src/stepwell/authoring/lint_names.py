"""What the names in a file stand for, from its syntax alone: imports, functions, and which of these are steps.

A name that is imported from a file beside it stands for what is defined there, if somebody can find that: see
`lint_files`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Kind = Literal["step", "workflow"]

_DOORS = ("stepwell.", "stepwell.authoring.steps.", "stepwell.authoring.workflows.", "stepwell.authoring.context.")
_STARRED = frozenset({"Context", "WorkflowRef", "current_run", "step", "workflow"})
_MAX_ALIASES = 8


class Binding(NamedTuple):
    """One way in which a name gets its value: an import, a definition or expression, or anything else (all empty)."""

    imported: str = ""
    node: ast.AST | None = None
    annotation: ast.expr | None = None


class Definition(NamedTuple):
    """A function or an expression, with the scope in which it stands: perhaps of another file."""

    scope: Scope
    node: ast.AST


Finder = Callable[[str], "Definition | None"]
"""Finds what a full name such as `shop.steps.charge` stands for in another file."""


class Scope:
    """The names of one function or of the module. A class body is no scope: its names are not seen from methods."""

    def __init__(self, node: ast.AST, parent: Scope | None, scopes: Scopes) -> None:
        self.node = node
        self.parent = parent
        self.scopes = scopes
        collector = _Collector()
        collector.collect(node)
        self.names = collector.names
        self._has_star = collector.has_star

    def find(self, name: str) -> tuple[Scope, Sequence[Binding]] | None:
        """Where the name is bound, seen from here, and how."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope, scope.names[name]
            scope = scope.parent
        return None

    def qualified(self, node: ast.AST, aliases: int = 0) -> str:
        """`time.time` for what the file may call `t.time`, `pathlib.Path().open` for a call's attribute, else ""."""
        if isinstance(node, ast.Attribute):
            base = self.qualified(node.value, aliases)
            return f"{base}.{node.attr}" if base else ""
        if isinstance(node, ast.Call):
            base = self.qualified(node.func, aliases)
            return f"{base}()" if base else ""
        return self._qualified_name(node.id, aliases) if isinstance(node, ast.Name) else ""

    def is_named(self, node: ast.AST, *names: str) -> bool:
        """Whether the expression is one of these names of Stepwell, however it was imported."""
        name = self.qualified(node)
        return any(name == door + wanted for wanted in names for door in _DOORS)

    def kind(self, node: ast.expr, aliases: int = 0) -> Kind | None:
        """Whether the expression is a step or a workflow."""
        if aliases > _MAX_ALIASES:
            return None
        if isinstance(node, ast.Call):
            return self._kind_of_call(node, aliases)
        found = self.definition(node)
        if found is None:
            return None
        scope, value = found
        if isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef):
            return scope.kind_of_function(value)
        return scope.kind(value, aliases + 1) if isinstance(value, ast.expr) else None

    def definition(self, node: ast.expr) -> Definition | None:
        """What a name was bound to last, here or in the file that it is imported from."""
        if isinstance(node, ast.Name):
            found = self.find(node.id)
            if found is None:
                return None
            scope, bindings = found
            if bindings[-1].imported:
                return self.scopes.elsewhere(bindings[-1].imported)
            return None if bindings[-1].node is None else Definition(scope, bindings[-1].node)
        name = self.qualified(node) if isinstance(node, ast.Attribute) else ""
        return self.scopes.elsewhere(name) if name and "()" not in name else None

    def kind_of_function(self, node: FunctionNode) -> Kind | None:
        """What the decorators make of a function that is defined in this scope."""
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.is_named(target, "step") or self._is_compensate(target):
                return "step"
            if self.is_named(target, "workflow"):
                return "workflow"
        return None

    def function(self, node: ast.expr) -> tuple[Scopes, FunctionNode] | None:
        """The plain function that the name stands for, with the scopes of its file."""
        found = self.definition(node) if isinstance(node, ast.Name | ast.Attribute) else None
        if found is None or not isinstance(found.node, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        return None if found.scope.kind_of_function(found.node) is not None else (found.scope.scopes, found.node)

    def _qualified_name(self, name: str, aliases: int) -> str:
        found = self.find(name)
        if found is None:
            if name in _STARRED and self._sees_star():
                return f"stepwell.{name}"
            return f"builtins.{name}" if hasattr(builtins, name) else ""
        scope, bindings = found
        imported = next((binding.imported for binding in bindings if binding.imported), "")
        value = bindings[0].node
        if imported or len(bindings) > 1 or not isinstance(value, ast.expr) or aliases > _MAX_ALIASES:
            return imported
        return scope.qualified(value, aliases + 1)

    def _sees_star(self) -> bool:
        return self._has_star or (self.parent is not None and self.parent._sees_star())

    def _kind_of_call(self, node: ast.Call, aliases: int) -> Kind | None:
        made = node.func if isinstance(node.func, ast.Call) and not node.func.args else node
        if node.args and self.is_named(made.func, "step"):
            return "step"
        if (node.args and self.is_named(made.func, "workflow")) or self.is_named(node.func, "WorkflowRef"):
            return "workflow"
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("options", "compensate"):
            return "step" if self.kind(node.func.value, aliases) == "step" else None
        return None

    def _is_compensate(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "compensate" and self.kind(node.value) == "step"


class Scopes:
    """Every function of a file with its scope. `elsewhere` finds what is imported from files beside it."""

    def __init__(self, tree: ast.Module, elsewhere: Finder = lambda _: None) -> None:
        self.elsewhere = elsewhere
        self.module = Scope(tree, None, self)
        self._of: dict[ast.AST, Scope] = {tree: self.module}
        self.nodes = list(self._walk(tree, self.module))

    def of(self, node: ast.AST) -> Scope:
        """The scope that a function or lambda opens."""
        return self._of[node]

    def around(self, node: ast.AST) -> Scope:
        """The scope in which a function is defined."""
        return self._of[node].parent or self.module

    def _walk(self, node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
        for child in ast.iter_child_nodes(node):
            yield child, scope
            inner = scope
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = self._of[child] = Scope(child, scope, self)
            yield from self._walk(child, inner)


def own_nodes(*roots: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when these run: not the insides of functions that they define."""
    for root in roots:
        yield root
        if not isinstance(root, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from own_nodes(*ast.iter_child_nodes(root))


class _Collector(ast.NodeVisitor):
    def __init__(self) -> None:
        self.names: dict[str, list[Binding]] = {}
        self.has_star = False
        self._elsewhere: set[str] = set()

    def collect(self, node: ast.AST) -> None:
        arguments = getattr(node, "args", None)
        if isinstance(arguments, ast.arguments):
            for parameter in ast.walk(arguments):
                if isinstance(parameter, ast.arg):
                    self._bind(parameter.arg, Binding(annotation=parameter.annotation))
        body = getattr(node, "body", [])
        for statement in body if isinstance(body, list) else [body]:
            self.visit(statement)
        for name in self._elsewhere:
            self.names.pop(name, None)

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        self._bind(node.name, Binding(node=node))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._bind(node.name, Binding(node=node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, Binding(node=node))

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Its names are its own."""

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self._bind(name, Binding(imported=alias.name if alias.asname else name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.has_star = self.has_star or module == "stepwell"
            else:
                dot = "" if module.endswith(".") else "."
                self._bind(alias.asname or alias.name, Binding(imported=f"{module}{dot}{alias.name}"))

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target.id, Binding(node=node.value))
            else:
                self.visit(target)
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id, Binding(node=node.value, annotation=node.annotation))
        if node.value is not None:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if not isinstance(node.target, ast.Name) or node.target.id not in self.names:
            self.visit(node.target)
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id, Binding())

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._bind_pattern(node, node.name)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._bind_pattern(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._bind_pattern(node, node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._bind_pattern(node, node.rest)

    def visit_Global(self, node: ast.Global) -> None:
        self._elsewhere.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._elsewhere.update(node.names)

    def _bind_pattern(self, node: ast.AST, name: str | None) -> None:
        if name is not None:
            self._bind(name, Binding())
        self.generic_visit(node)

    def _bind(self, name: str, binding: Binding) -> None:
        self.names.setdefault(name, []).append(binding)
