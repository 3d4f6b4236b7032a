"""The rules for workflow bodies: what would differ on replay, hide an eviction, or not happen at all.

A body is the workflow's function with the functions inside of it, and the functions that it calls, at any depth: those
of the same file, and those of files beside it. Steps are left alone, wherever they stand.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from stepwell.authoring.lint_awaits import Coroutines
from stepwell.authoring.lint_calls import ENVIRONMENT, HASH, fault_of, fault_of_shared
from stepwell.authoring.lint_names import FunctionNode, Scope, Scopes, own_nodes
from stepwell.authoring.lint_sets import makes_task, orderless_arguments, set_iterations

Report = Callable[[Scopes, ast.AST, str, str], None]
"""Takes the file's scopes, the place, the code and the message."""

_Loop = ast.For | ast.AsyncFor | ast.While
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_CONTAINERS = frozenset({"dict", "list", "set", "collections.defaultdict", "collections.deque", "collections.Counter"})
_MUTATORS = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove"}
    | {"setdefault", "update"}
)
_BROAD = ("Evicted", "ActivationError", "NotDurableError", "NonDeterminismError")


def check(scopes: Scopes, report: Report) -> None:
    """Report everything that is found in the file, and in what its bodies call."""
    _check_methods(scopes, partial(report, scopes))
    steps: dict[Scopes, set[FunctionNode]] = {}
    waiting = deque((scopes, node, f"workflow {node.name}") for node in bodies(scopes))
    seen = {node for _, node, _ in waiting}
    while waiting:
        where, node, owner = waiting.popleft()
        if where not in steps:
            steps[where] = set(_functions_made_steps(where))
        body = _Body(node, owner, where, partial(report, where))
        body.is_skipped = steps[where].__contains__
        body.run()
        for there, helper in body.helpers:
            if there not in steps:
                steps[there] = set(_functions_made_steps(there))
            if helper not in seen and helper not in steps[there]:
                seen.add(helper)
                waiting.append((there, helper, f"{helper.name}(), called by {owner}"))


def bodies(scopes: Scopes) -> Iterator[FunctionNode]:
    """The functions that are workflows, by decorator or by `workflow(fn)`."""
    for node, scope in scopes.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if scope.kind_of_function(node) == "workflow":
                yield node
        elif isinstance(node, ast.Call) and scope.kind(node) == "workflow" and node.args:
            made = scope.function(node.args[0])
            if made is not None and made[0] is scopes:
                yield made[1]


def _functions_made_steps(scopes: Scopes) -> Iterator[FunctionNode]:
    for node, scope in scopes.nodes:
        if isinstance(node, ast.Call) and scope.kind(node) == "step" and node.args:
            made = scope.function(node.args[0])
            if made is not None and made[0] is scopes:
                yield made[1]


def _check_methods(scopes: Scopes, report: Callable[[ast.AST, str, str], None]) -> None:
    for owner in ast.walk(scopes.module.node):
        for node in owner.body if isinstance(owner, ast.ClassDef) else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                scope = scopes.around(node)
                kind = scope.kind_of_function(node)
                is_static = any(scope.qualified(item) == "builtins.staticmethod" for item in node.decorator_list)
                if kind and not is_static:
                    text = f"{kind} {node.name} is a method, and `self` would not survive a crash: make it a function"
                    report(node, "SW206", text)


class _Body(ast.NodeVisitor):
    """One function that runs on replay. `owner` says whose it is; `helpers` are functions that it calls."""

    def __init__(
        self, node: FunctionNode, owner: str, scopes: Scopes, report: Callable[[ast.AST, str, str], None]
    ) -> None:
        self._node = node
        self._owner = owner
        self._scopes = scopes
        self._scope = scopes.of(node)
        self._report_to = report
        self._orderless: set[ast.AST] = set()
        self._coroutines = Coroutines(node, is_workflow="," not in owner)
        self.helpers: list[tuple[Scopes, FunctionNode]] = []
        self.is_skipped: Callable[[FunctionNode], bool] = lambda _: False

    def run(self) -> None:
        """Check the function's statements."""
        for statement in self._node.body:
            self.visit(statement)

    def visit(self, node: ast.AST) -> None:
        """Every node passes here first."""
        if isinstance(node, ast.For | ast.Starred | ast.Assign):
            self._check_order(node)
        self._check_awaits(node)
        super().visit(node)

    # --- what is defined inside

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        if self._scope.kind_of_function(node) is None and not self.is_skipped(node):
            self._inside(node, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node, [node.body])

    def _inside(self, node: ast.AST, body: Sequence[ast.AST]) -> None:
        outer, self._scope = self._scope, self._scopes.of(node)
        for item in body:
            self.visit(item)
        self._scope = outer

    # --- calls

    def visit_Call(self, node: ast.Call) -> None:
        name = self._scope.qualified(node.func)
        fault = fault_of(name, node)
        if fault is not None:
            self._report(node, fault.code, f"{name.removeprefix('builtins.')}() {fault.text}")
        elif self._is_shared(node.func) and (fault := fault_of_shared(name)) is not None:
            self._report(node, fault.code, f"{ast.unparse(node.func)}() {fault.text}")
        self._check_order(node)
        self._check_asyncio(node, name)
        self._check_inputs(node)
        self._check_mutating_call(node)
        self._note_helpers(node)
        self._orderless.update(orderless_arguments(node, self._scope))
        makes_step = self._scope.is_named(node.func, "step")
        self.visit(node.func)
        for argument in (*node.args, *node.keywords):
            if not (makes_step and isinstance(argument, ast.Lambda)):
                self.visit(argument)

    def _check_asyncio(self, node: ast.Call, name: str) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "run_in_executor":
            self._report(node, "SW106", "run_in_executor() starts a thread, which does not survive a crash: use a step")
        if name == "asyncio.as_completed" and node.args and self._holds_coroutines(node.args[0]):
            text = (
                "asyncio.as_completed() starts bare coroutines in an order that differs: use `async for` with ctx.map"
            )
            self._report(node, "SW108", text)
        if name in ("asyncio.create_task", "asyncio.ensure_future") and self._coroutines.is_statement(node):
            text = "nobody holds this task: it is cancelled when the body ends, and its error is lost; await it later"
            self._report(node, "SW302", f"{text}, or use a TaskGroup")
        if name == "builtins.hash" and not all(isinstance(item, ast.Constant) for item in node.args):
            self._report(node, HASH.code, f"hash() {HASH.text}")
        if name == "contextlib.suppress" and any(self._is_broad(item) for item in node.args):
            self._report(node, "SW201", "this hides that the run leaves memory: suppress Exception, not BaseException")

    def _holds_coroutines(self, node: ast.expr) -> bool:
        match node:
            case ast.ListComp(elt=item) | ast.SetComp(elt=item) | ast.GeneratorExp(elt=item):
                items = [item]
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                items = elements
            case _:
                return False
        return any(isinstance(item, ast.Call) and not makes_task(item) for item in items)

    def _check_inputs(self, node: ast.Call) -> None:
        given = len(node.args) + len(node.keywords)
        if given > 1 and self._scope.kind(node.func) == "workflow":
            text = f"a workflow takes one input, {given} are given: put them into one dataclass or Struct"
            self._report(node, "SW203", text)

    def _note_helpers(self, node: ast.Call) -> None:
        called = [node.func]
        if not self._scope.is_named(node.func, "step"):  # a function that is given away is called there
            called += [*node.args, *(keyword.value for keyword in node.keywords)]
        for item in called:
            found = self._scope.function(item)
            if found is not None and not (found[0] is self._scopes and self._is_within(self._scopes.around(found[1]))):
                self.helpers.append(found)

    # --- order

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._check_comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._check_comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._check_comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        if not any(isinstance(inner, ast.Await) for inner in own_nodes(node)):
            self._orderless.add(node)
        self._check_comprehension(node)

    def _check_comprehension(self, node: _Comprehension) -> None:
        if node not in self._orderless:
            for generator in node.generators:
                self._check_order(generator)
        self.generic_visit(node)

    def _check_order(self, node: ast.AST) -> None:
        for iterated in set_iterations(node, self._scope):
            text = (
                "the order of a set differs when the run is replayed: iterate over sorted(...), or use a list or dict"
            )
            self._report(iterated, "SW109", text)

    # --- what is read and changed outside

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._check_environment(node)
        if not isinstance(node.ctx, ast.Load) and self._is_shared(node.value):
            self._report_shared(node, ast.unparse(node))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._check_environment(node)

    def _check_environment(self, node: ast.expr) -> None:
        if self._scope.qualified(node) in ("os.environ", "os.environb"):
            self._report(node, ENVIRONMENT.code, f"os.environ {ENVIRONMENT.text}")

    def visit_Global(self, node: ast.Global) -> None:
        self._report_shared(node, ", ".join(node.names))

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        outside = [name for name in node.names if self._is_outside(name)]
        if outside:
            self._report_shared(node, ", ".join(outside))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._check_mutated(node, node.value)
        self.generic_visit(node)

    def _check_mutating_call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
            self._check_mutated(node, node.func.value)

    def _check_mutated(self, place: ast.AST, target: ast.expr) -> None:
        if not isinstance(target, ast.Name) or not self._is_outside(target.id):
            return
        found = self._scope.find(target.id)
        assert found is not None, "or it would not be outside"
        scope, bindings = found
        if any(_is_container(binding.node, scope) for binding in bindings):
            self._report_shared(place, target.id)

    def _report_shared(self, node: ast.AST, names: str) -> None:
        text = f"{names} is shared by all runs and changes again on each replay: use a local variable or ctx.metadata"
        self._report(node, "SW204", text)

    def _is_shared(self, node: ast.expr) -> bool:
        """Whether the expression begins with a name that is bound outside of the body."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and self._is_outside(node.id)

    def _is_outside(self, name: str) -> bool:
        found = self._scope.find(name)
        return found is not None and not self._is_within(found[0])

    def _is_within(self, scope: Scope | None) -> bool:
        top = self._scopes.of(self._node)
        while scope is not None and scope is not top:
            scope = scope.parent
        return scope is top

    # --- control flow

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        is_passed_on = False
        for handler in node.handlers:
            raises = any(isinstance(inner, ast.Raise) for inner in own_nodes(*handler.body))
            if self._is_broad(handler.type):
                if not raises and not is_passed_on:
                    text = "this hides that the run leaves memory: catch Exception, or end with a bare `raise`"
                    self._report(handler, "SW201", text)
                is_passed_on = is_passed_on or raises
            elif self._loses_cancel(node, handler):
                text = "this loses a cancel of the run: clean up in `finally`, or end with `raise`"
                self._report(handler, "SW304", text)
        for leaving in _leaves(node.finalbody):
            self._report(leaving, "SW201", "leaving a `finally` block hides that the run leaves memory: leave after it")
        self.generic_visit(node)

    def _loses_cancel(self, node: ast.Try | ast.TryStar, handler: ast.ExceptHandler) -> bool:
        """Not if the block only waits for a task: then it may be the task's own cancel that is caught."""
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if not any(item is not None and self._scope.qualified(item) == "asyncio.CancelledError" for item in caught):
            return False
        if any(isinstance(inner, ast.Raise | ast.Return | ast.Break) for inner in own_nodes(*handler.body)):
            return False
        awaited = [inner.value for inner in own_nodes(*node.body) if isinstance(inner, ast.Await)]
        return any(self._coroutines.name_of(item, self._scope) for item in awaited)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self.visit_Try(node)

    def _is_broad(self, caught: ast.expr | None) -> bool:
        if caught is None:
            return True
        if isinstance(caught, ast.Tuple):
            return any(self._is_broad(item) for item in caught.elts)
        name = self._scope.qualified(caught)
        own = (f"stepwell.{door}{kind}" for door in ("", "errors.") for kind in _BROAD)
        return name == "builtins.BaseException" or name in own

    def visit_While(self, node: ast.While) -> None:
        if isinstance(node.test, ast.Constant) and node.test.value and not _can_leave(node):
            text = "this loop never waits and never ends, so no other run gets on: await something in it"
            self._report(node, "SW205", text)
        self.generic_visit(node)

    # --- what nobody awaits

    def _check_awaits(self, node: ast.AST) -> None:
        for call, called in self._coroutines.lost_by(node, self._scope):
            cure = f"await {ast.unparse(call.func)}(...)"
            self._report(call, "SW202", f"{called} is called without `await`, so it does not run: write `{cure}`")

    def _report(self, node: ast.AST, code: str, text: str) -> None:
        is_helper = "," in self._owner
        self._report_to(node, code, f"{text} (in {self._owner})" if is_helper else text)


def _is_container(node: ast.AST | None, scope: Scope) -> bool:
    if isinstance(node, ast.Call):
        return scope.qualified(node.func).removeprefix("builtins.") in _CONTAINERS
    return isinstance(node, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp)


def _can_leave(node: ast.While) -> bool:
    leaving = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.Return, ast.Raise, ast.Break)
    return any(
        isinstance(inner, leaving) or (isinstance(inner, ast.comprehension) and inner.is_async)
        for inner in own_nodes(*node.body)
    )


def _leaves(block: Sequence[ast.AST], *, in_loop: bool = False) -> Iterator[ast.AST]:
    """The statements that leave this block in place of what was on its way."""
    for node in block:
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and not in_loop):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _leaves(list(ast.iter_child_nodes(node)), in_loop=in_loop or isinstance(node, _Loop))
