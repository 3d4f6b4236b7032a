"""Ids of different things are different types, and all of them are text."""

from __future__ import annotations

from typing import assert_type

from stepwell.model.ids import CommandId, RunId, child_run_id, step_name

parent = RunId("order-7")

assert_type(child_run_id(parent, 1, CommandId("charge")), RunId)
assert_type(step_name(CommandId("charge:2")), str)

as_text: str = parent
