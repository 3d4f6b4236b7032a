"""Blueprint documents that tests of the format share: some to accept, some to refuse."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

GOOD: dict[str, Document] = {
    "empty": {"id": "empty"},
    "nothing in it": {"id": "nothing", "nodes": None, "edges": None, "metadata": None},
    "chain": {
        "id": "chain",
        "nodes": [
            {"id": "a", "uses": "fetch", "params": {"url": "https://x"}},
            {"id": "b", "uses": "store", "inputs": "a"},
            {"id": "c", "uses": "store", "inputs": {"first": "a.body", "error": "_catch_error.message"}},
        ],
        "edges": [{"source": "a", "target": "b"}, {"source": "b", "target": "c", "action": "", "condition": None}],
        "metadata": {"version": "1.2.0", "cycleEntryPoints": [], "owner": {"team": "x"}},
    },
    "objects": {
        "id": "objects",
        "nodes": {"a": {"uses": "work"}, "key": {"id": "b", "uses": "work"}, "": {"uses": "work"}},
        "edges": {"first": {"source": "a", "target": "b"}, "2": {"source": "b", "target": ""}},
    },
    "drawn": {
        "id": "drawn",
        "nodes": [{"id": "a b/ü", "uses": "work", "position": {"x": 1}, "style": {}, "_sourceLocation": {"line": 1}}],
        "edges": [],
        "viewport": {"zoom": 2},
    },
    "tried": {
        "id": "tried",
        "nodes": [
            {
                "id": "a",
                "uses": "work",
                "config": {
                    "maxRetries": 3.0,
                    "retryDelay": "1s",
                    "backoff": 2,
                    "maxDelay": 60000,
                    "timeout": "1m30s",
                    "fallback": "b",
                    "joinStrategy": "any",
                },
            },
            {"id": "b", "uses": "work", "config": {"maxRetries": 0, "timeout": 0, "fallback": "", "retryDelay": None}},
            {"id": "c", "uses": "work", "config": {}},
        ],
    },
    "loop": {
        "id": "loop",
        "nodes": [
            {"id": "L", "uses": "loop-controller", "params": {"condition": "n < 3", "maxIterations": 10}},
            {"id": "a", "uses": "work"},
            {"id": "x", "uses": "work"},
        ],
        "edges": [
            {"source": "L", "target": "a", "action": "continue", "transform": 'context["a"]'},
            {"source": "a", "target": "L"},
            {"source": "L", "target": "x", "action": "break"},
        ],
    },
    "batch": {
        "id": "batch",
        "nodes": [
            {
                "id": "each_scatter",
                "uses": "batch-scatter",
                "inputs": "items",
                "params": {"workerUsesKey": "work", "gatherNodeId": "each_gather", "chunkSize": 5, "settle": True},
            },
            {
                "id": "each_gather",
                "uses": "BatchGatherNode",
                "params": {"outputKey": "all", "gatherNodeId": "each_gather"},
            },
        ],
        "edges": [{"source": "each_scatter", "target": "each_gather"}],
        "metadata": {"concurrency": 10, "output": "each_gather"},
    },
    "built in": {
        "id": "built-in",
        "nodes": [
            {"id": "begin", "uses": "start"},
            {"id": "nap", "uses": "sleep", "params": {"duration": 500}},
            {"id": "nap2", "uses": "SleepNode", "params": {"duration": "5m"}},
            {"id": "ask", "uses": "wait", "params": {"signal": "approval", "timeout": "2d"}},
            {"id": "hook", "uses": "webhook"},
            {
                "id": "sub",
                "uses": "subflow",
                "params": {"blueprintId": "x", "inputs": {"a": "b"}, "outputs": {"c": "d"}},
            },
            {"id": "keep", "uses": "set", "params": {"values": {"n": "n + 1"}}},
            {"id": "both", "uses": "join", "config": {"joinStrategy": "any"}},
            {"id": "stop", "uses": "error", "params": {"message": "no"}},
        ],
        "metadata": {"output": {"kept": "keep", "joined": "both"}},
    },
}

BAD: dict[str, tuple[Document, str]] = {
    "no id": ({}, "id: missing; it must be text"),
    "id no text": ({"id": 5}, "id: must be text, not a number (5)"),
    "nodes no collection": ({"id": "g", "nodes": "x"}, "nodes: must be an array or an object of nodes, not text ('x')"),
    "node no object": ({"id": "g", "nodes": [None]}, "nodes[0]: must be an object, not null"),
    "node without id": ({"id": "g", "nodes": [{"uses": "w"}]}, "nodes[0].id: missing; it must be text"),
    "node without uses": ({"id": "g", "nodes": {"a": {}}}, "nodes.a.uses: missing; it must be text"),
    "odd key": ({"id": "g", "nodes": {"a b": {}}}, 'nodes["a b"].uses: missing; it must be text'),
    "params": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "params": [1]}]},
        "nodes[0].params: must be an object, not an array ([1])",
    ),
    "inputs": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "inputs": 3}]},
        "nodes[0].inputs: must be text or an object of texts, not a number (3)",
    ),
    "inputs of numbers": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "inputs": {"x": "b", "y": 3}}]},
        "nodes[0].inputs.y: must be text, not a number (3)",
    ),
    "config": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": True}]},
        "nodes[0].config: must be an object, not true or false (True)",
    ),
    "maxRetries": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"maxRetries": "3"}}]},
        "nodes[0].config.maxRetries: must be a whole number, not text ('3')",
    ),
    "maxRetries broken": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"maxRetries": 2.5}}]},
        "nodes[0].config.maxRetries: must be a whole number, not a number (2.5)",
    ),
    "timeout": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"timeout": "soon"}}]},
        "nodes[0].config.timeout: the duration is 'soon'; write it as \"1h30m\", with the units "
        "w d h m s ms, largest first",
    ),
    "retryDelay": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"retryDelay": -1}}]},
        "nodes[0].config.retryDelay: must be 0 to 3153600000000 milliseconds (100 years), not a number (-1)",
    ),
    "maxDelay": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"maxDelay": [1]}}]},
        'nodes[0].config.maxDelay: must be milliseconds, or text such as "1h30m", not an array ([1])',
    ),
    "backoff": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"backoff": 0.5}}]},
        "nodes[0].config.backoff: must be 1 or more, not a number (0.5)",
    ),
    "backoff no number": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"backoff": "2"}}]},
        "nodes[0].config.backoff: must be a number, not text ('2')",
    ),
    "joinStrategy": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"joinStrategy": "some"}}]},
        "nodes[0].config.joinStrategy: must be 'all' or 'any', not text ('some')",
    ),
    "edge without source": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w"}], "edges": [{"target": "a"}]},
        "edges[0].source: missing; it must be text",
    ),
    "edge without target": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w"}], "edges": [{"source": "a"}]},
        "edges[0].target: missing; it must be text",
    ),
    "condition": (
        {"id": "g", "nodes": [{"id": "a", "uses": "w"}], "edges": [{"source": "a", "target": "a", "condition": True}]},
        "edges[0].condition: must be text, not true or false (True)",
    ),
    "metadata": ({"id": "g", "metadata": []}, "metadata: must be an object, not an array ([])"),
    "version": ({"id": "g", "metadata": {"version": 2}}, "metadata.version: must be text, not a number (2)"),
    "entries": (
        {"id": "g", "metadata": {"cycleEntryPoints": "a"}},
        "metadata.cycleEntryPoints: must be an array of texts, not text ('a')",
    ),
    "an entry": (
        {"id": "g", "metadata": {"cycleEntryPoints": ["a", 1]}},
        "metadata.cycleEntryPoints[1]: must be text, not a number (1)",
    ),
    "concurrency": ({"id": "g", "metadata": {"concurrency": 0}}, "metadata.concurrency: is 0; it must be 1 or more"),
}
"""Mistakes of form, which the schema finds too, with the text of the error."""
