"""`POST /api/runs/{run}/cancel`."""

from __future__ import annotations

from stepwell.errors import RunClosedError, RunNotFoundError
from stepwell.formats.voyant import Cancel
from stepwell.model.ids import RunId
from stepwell.server.bodies import checked_json
from stepwell.server.compat.injecting import not_stored
from stepwell.server.compat.records import ASYNC, run_of, stored_record
from stepwell.server.endpoints import Answer, Call
from stepwell.server.problems import Problem


async def cancel(call: Call) -> Answer:
    """Ask a run to stop, and wait until it has: its body may clean up, and undo what it did."""
    asked = Cancel.of(checked_json(call.raw_body) if call.raw_body else None)
    if isinstance(asked, str):
        raise Problem(400, "invalid_body", asked)
    app = call.app
    app.ensure_worker()
    try:
        head = await app.client.head(run := run_of(call))
    except RunNotFoundError:
        raise not_stored() from None
    if head.is_terminal:
        raise _ended(head.id, head.status)
    try:
        await app.runs.cancel(run, asked.reason)
    except RunClosedError:
        raise _ended(run, "over") from None
    if call.prefers_async:
        return Answer(body=await stored_record(call, run), status=202, headers=ASYNC)
    status = 200
    try:
        async with call.server.patience.at_most(call.server.options.wait):
            await app.client.ended(run)
    except TimeoutError:
        status = 202
    return Answer(body=await stored_record(call, run), status=status)


def _ended(run: RunId, status: str) -> Problem:
    return Problem(409, "already_terminal", f"run {run} is {status}")
