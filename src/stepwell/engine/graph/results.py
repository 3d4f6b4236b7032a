"""What comes out of a blueprint."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from stepwell.engine.graph.data import found
from stepwell.engine.graph.visits import Space
from stepwell.model.failures import NULL


def space_result(space: Space) -> Raw:
    """The result of a whole space: what the blueprint names, or else the outputs of the nodes where it ended."""
    asked = space.plan.graph.output
    if isinstance(asked, str):
        return found(space, asked) or NULL
    if asked is not None:
        return Raw(msgspec.json.encode({key: found(space, name) or NULL for key, name in asked.items()}))
    ends: dict[str, Raw] = {}
    for node in space.plan.ends:
        visit = space.latest.get(node.id)
        if visit is not None and visit.status in ("completed", "recovered") and node.id in space.outputs:
            ends[node.id] = space.outputs[node.id]
    if len(ends) == 1:
        return next(iter(ends.values()))
    return Raw(msgspec.json.encode(ends)) if ends else NULL
