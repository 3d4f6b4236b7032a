"""Flows: straight-line `async` functions, compiled to blueprints.

`source`, `names` and `hints` read the function; `expressions` turns what is pure into the expression language, with the
same results. `graph` and `unit` are what grows meanwhile; `calls`, `fanout`, `loops`, `tries` and `statements` put
nodes where something is awaited, repeated or decided. `compiling` gives the document, `flow` is the decorator.

The shape: one token walks through the graph, so nodes where paths meet join `any`. Variables are keys of the state,
except those that are set once, by an `await`: these are the node itself. A node in a `try` has a fallback that keeps
the failure, and its edges ask for it. A `finally` is compiled once for each way through it.
"""

from stepwell.authoring.flows.compiling import CompiledFlow, compile_flow
from stepwell.authoring.flows.flow import Flow, flow

__all__ = ["CompiledFlow", "Flow", "compile_flow", "flow"]
