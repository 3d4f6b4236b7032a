"""What is awaited: each call becomes a node, or some."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.flows.expressions import Text
from stepwell.authoring.flows.graph import Cursor, Json
from stepwell.authoring.flows.hints import result_of
from stepwell.authoring.flows.shapes import MISSING
from stepwell.authoring.flows.unit import Unit
from stepwell.authoring.messages import Event, Signal
from stepwell.authoring.steps import Step
from stepwell.authoring.workflows import WorkflowRef
from stepwell.errors import DefinitionError
from stepwell.model.blueprints import ALIASES
from stepwell.model.durations import duration_ms

Lift = Callable[[Cursor, ast.expr], tuple[Cursor, ast.expr]]

Special = Callable[[Cursor, Any], "Awaited"]
"""Puts a call that is more than one node at a place."""

_PLAIN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_CURE = (
    "await a @step, a @flow, a @workflow, asyncio.gather(), asyncio.sleep(), ctx.sleep(), ctx.receive() or ctx.map()"
)


class Prepared(NamedTuple):
    """A node that can be put at a place: its arguments are computed. `hint` is the type of its output."""

    name: str
    node: Json
    hint: Any


class Awaited(NamedTuple):
    """The place behind a call, and its result: what to read it by, and its type."""

    cursor: Cursor
    result: str
    hint: Any = Any


class Calls:
    """The calls of one flow. `lift` takes what is awaited out of arguments."""

    def __init__(self, unit: Unit, lift: Lift) -> None:
        self._unit = unit
        self._lift = lift
        self.specials: dict[Any, Special] = {
            "ctx.receive": self._receive,
            "ctx.sleep": self._sleeping,
            asyncio.sleep: self._sleeping,
        }

    def run(self, cursor: Cursor, call: ast.expr) -> Awaited:
        """Put one call at a place."""
        special = self.specials.get(self.target(call)) if _is_hashable(self.target(call)) else None
        if special is not None:
            return special(cursor, call)
        cursor, prepared = self.prepare(cursor, call)
        cursor, id = self.place(cursor, prepared, call)
        return Awaited(self._unit.guard(cursor, call), id, prepared.hint)

    def prepare(self, cursor: Cursor, call: ast.expr) -> tuple[Cursor, Prepared]:
        """Compute the arguments of a call that is one node."""
        target = self.target(call)
        if isinstance(call, ast.Call):
            if isinstance(target, Step):
                return self._step(cursor, call, target)
            if isinstance(target, Blueprint):
                if self._unit.flows.setdefault(target.id, target) is not target:
                    raise self._unit.refuse(call, f"two flows are called {target.id!r}", "give one of them an id=")
                node = {"uses": "subflow", "params": {"blueprintId": target.id}}
                return self._one_input(cursor, call, target, node)
            if isinstance(target, WorkflowRef):
                return self._one_input(cursor, call, target, {"uses": self.implementation(target.id, target)})
            if target is asyncio.sleep or target == "ctx.sleep":
                return cursor, self._sleep(call, target)
        what = f"await {ast.unparse(call)}"
        raise self._unit.refuse(call, f"`{what if len(what) < 60 else what[:60] + '...'}` is not supported here", _CURE)

    def place(self, cursor: Cursor, prepared: Prepared, at: ast.AST) -> tuple[Cursor, str]:
        """Put a prepared node at a place."""
        id = self._unit.graph.id(prepared.name)
        return self._unit.add(cursor, id, prepared.node, at), id

    def target(self, call: ast.expr) -> Any:
        """What is called; `ctx.name` for methods of the context."""
        if not isinstance(call, ast.Call):
            return MISSING
        func = call.func
        owner = func.value if isinstance(func, ast.Attribute) else None
        if isinstance(func, ast.Attribute) and isinstance(owner, ast.Name) and owner.id == self._unit.names.context:
            return f"ctx.{func.attr}"
        return self._unit.names.static(func)

    def is_awaitable(self, call: ast.Call) -> bool:
        """Whether this call gives something to await."""
        target = self.target(call)
        is_known = isinstance(target, Step | WorkflowRef)
        return is_known or (_is_hashable(target) and target in self.specials)

    def implementation(self, name: str, target: Any) -> str:
        """The `uses` under which something is known, one for each."""
        known = self._unit.implementations
        uses, number = name, 1
        while uses in ALIASES or known.setdefault(uses, target) is not target:
            number += 1
            uses = f"{name}_{number}"
        return uses

    def arguments(self, cursor: Cursor, values: Mapping[str, ast.expr], name: str) -> tuple[Cursor, dict[str, str]]:
        """What `inputs` says for values: paths as they are, all else computed beforehand."""
        texts: dict[str, Text] = {}
        lifted: dict[str, ast.expr] = {}
        for key, value in values.items():
            cursor, lifted[key] = self._lift(cursor, value)
        for key, value in lifted.items():
            texts[key] = self._unit.text(cursor, value)
        found, computed = {}, {}
        for key, text in texts.items():
            found[key] = text.code
            if not text.is_path:
                found[key] = f"${name}_{key}"
                computed[found[key]] = text
        if computed:
            cursor = self._unit.assign(cursor, computed, next(iter(values.values())))
        return cursor, found

    def bound(self, call: ast.Call, step: Step[..., Any]) -> dict[str, ast.expr]:
        """The arguments by parameter."""
        unit = self._unit
        for item in (*call.args, *call.keywords):
            if isinstance(item, ast.Starred) or (isinstance(item, ast.keyword) and item.arg is None):
                raise unit.refuse(call, "`*` in a call is not supported in a flow", "name the arguments")
        signature = step.signature
        parameters = [] if signature is None else list(signature.parameters.values())
        is_odd = any(parameter.kind not in _PLAIN for parameter in parameters)
        is_odd |= len(parameters) > 1 and any(parameter.kind is _PLAIN[0] for parameter in parameters)
        if signature is None or is_odd:
            raise unit.refuse(
                call, f"step {step.__name__} takes arguments without names", "give it parameters with names"
            )
        keywords = {str(keyword.arg): keyword.value for keyword in call.keywords}
        try:
            return dict(signature.bind(*call.args, **keywords).arguments)
        except TypeError as error:
            raise unit.refuse(
                call, f"{step.__name__}(): {error}", f"it is {step.__name__}{_shown(signature)}"
            ) from None

    # --- single nodes

    def _step(self, cursor: Cursor, call: ast.Call, step: Step[..., Any]) -> tuple[Cursor, Prepared]:
        values = self.bound(call, step)
        node: Json = {"uses": self.implementation(step.__name__, step)}
        name = self._unit.fresh(step.__name__)
        parameters = list(step.signature.parameters.values()) if step.signature else []
        if len(parameters) == 1:
            (parameter,) = parameters
            if not values:
                values = {parameter.name: ast.copy_location(ast.Constant(value=parameter.default), call)}
            cursor, inputs = self.arguments(cursor, values, name)
            node["inputs"] = inputs[parameter.name]
        elif parameters:
            cursor, node["inputs"] = self.arguments(cursor, values, name)
        return cursor, Prepared(step.__name__, node, result_of(step))

    def _one_input(
        self, cursor: Cursor, call: ast.Call, target: WorkflowRef[Any, Any], node: Json
    ) -> tuple[Cursor, Prepared]:
        name = target.id
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        if len(values) > 1 or any(isinstance(value, ast.Starred) for value in values):
            raise self._unit.refuse(call, f"{name} takes one input", "give it one value, or none")
        given = values[0] if values else ast.copy_location(ast.Constant(value=None), call)
        cursor, inputs = self.arguments(cursor, {"input": given}, self._unit.fresh(name))
        return cursor, Prepared(name, {**node, "inputs": inputs["input"]}, result_of(target))

    def _sleep(self, call: ast.Call, target: Any) -> Prepared:
        if len(call.args) != 1 or call.keywords:
            raise self._unit.refuse(call, "this takes one argument in a flow", "write how long to sleep")
        duration = self._duration(call.args[0], "how long to sleep")
        if target is asyncio.sleep and isinstance(duration, str):
            raise self._unit.refuse(call, "asyncio.sleep() takes seconds", "give a number, or use ctx.sleep()")
        return Prepared("sleep", {"uses": "sleep", "params": {"duration": duration}}, type(None))

    def _duration(self, node: ast.expr, what: str) -> str | int:
        """A duration as a document has it: text as it was written, or milliseconds."""
        value = self.constant(node, what)
        try:
            ms = duration_ms(value, what=what)
        except (DefinitionError, TypeError):
            cure = 'give seconds, or text such as "1h30m" where ctx takes a duration'
            raise self._unit.refuse(node, f"{what} is {value!r:.60}, which is no duration", cure) from None
        return value if isinstance(value, str) else ms

    def constant(self, node: ast.expr, what: str) -> Any:
        """A value that is known beforehand."""
        value = self._unit.names.static(node)
        with suppress(ValueError):
            value = ast.literal_eval(node)
        if value is MISSING:
            raise self._unit.refuse(
                node, f"{what} is not known before the flow runs", "write it here, or as a constant of the module"
            )
        return value

    # --- several nodes

    def _sleeping(self, cursor: Cursor, call: ast.Call) -> Awaited:
        cursor, _ = self.place(cursor, self._sleep(call, self.target(call)), call)
        return Awaited(cursor, "null", type(None))

    def _receive(self, cursor: Cursor, call: ast.Call) -> Awaited:
        unit = self._unit
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if len(call.args) != 1 or not keywords.keys() <= {"timeout", "default"}:
            raise unit.refuse(call, "this call is not supported in a flow", "write ctx.receive(signal, timeout=...)")
        source = self.constant(call.args[0], "what to receive")
        if not isinstance(source, Signal | Event):
            raise unit.refuse(call, "this is neither a Signal nor an Event", "give the Signal or Event itself")
        params: Json = {"signal" if isinstance(source, Signal) else "eventName": source.name}
        if "timeout" in keywords:
            params["timeout"] = self._duration(keywords["timeout"], "the timeout")
        node = {"uses": "wait", "params": params}
        if "timeout" not in keywords or "default" not in keywords:
            cursor, id = self.place(cursor, Prepared(source.name, node, source.type), call)
            return Awaited(unit.guard(cursor, call), id, source.type)
        cursor, value = self._lift(cursor, keywords["default"])
        default = unit.text(cursor, value)
        cursor, id = self.place(cursor, Prepared(source.name, node, source.type), call)
        key = f"${unit.fresh('receive')}"
        (loose,) = cursor.edges
        late = unit.assign(cursor.at(loose._replace(action="timeout")), {key: default}, call, "late")
        unit.graph.close()
        came = unit.assign(cursor, {key: Text(id)}, call, "came")
        return Awaited(unit.meet(late, came), key)


def _is_hashable(value: Any) -> bool:
    return callable(value) or isinstance(value, str)


def _shown(signature: inspect.Signature) -> str:
    return str(signature).replace("'", "")
