"""Ids of different things cannot be mixed up."""

from __future__ import annotations

from stepwell.model.ids import CommandId, RunId, child_run_id, step_name

child_run_id("order-7", 1, CommandId("charge"))  # E: arg-type  # P: reportArgumentType
child_run_id(RunId("order-7"), 1, RunId("charge"))  # E: arg-type  # P: reportArgumentType
step_name("charge")  # E: expected "CommandId"  # P: reportArgumentType
