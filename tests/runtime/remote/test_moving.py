"""Workflows whose code moved: from here to a worker elsewhere, or back. What was done stays what it was."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.runtime.remote.theirs import Theirs, Turn

from stepwell import Context, Signal, step, workflow
from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.formats.voyant import RunView, run_record
from stepwell.runtime.remote.viewing import remote_view
from stepwell.testing.fixture import StepwellTest

go = Signal("go", Any)


@step
async def load() -> int:
    return 1


@workflow(id="pay")
async def here(ctx: Context) -> Any:
    await load()
    return await ctx.receive(go)


async def there(turn: Turn) -> Any:
    turn.step("load", 1, machine="big")
    return turn.waited(turn.signal("go"))


async def record_of(test: StepwellTest, run: str, *known: Any) -> dict[str, Any]:
    registry = Registry(known, test.app.registry.codec)
    loaded, frames = await test.app.client.journal(run, after=0)  # type: ignore[arg-type]
    view = remote_view(registry, loaded.head, frames, lambda raw: raw)
    record = run_record(RunView(head=loaded.head, frames=frames, remote=view))
    return msgspec.json.decode(msgspec.json.encode(record))  # type: ignore[no-any-return]


def test_a_run_that_was_carried_out_here_is_shown_so_when_its_code_has_moved() -> None:
    with StepwellTest(include=[here]) as test:

        async def main() -> None:
            handle = await test.start(here, id="r")
            await test.sleep("1s")
            await handle.send(go, 7)
            assert await handle.result() == 7
            before = await record_of(test, "r", here)
            assert await record_of(test, "r", RemoteWorkflow("pay")) == before
            assert [*before["journal"]["stepResults"]] == ["load"]
            assert [*before["journal"]["waitpointsResolved"]] == ["signal:go:1"]

        test.drive(main())


def test_a_run_of_a_worker_elsewhere_is_shown_so_when_its_code_has_come_here() -> None:
    worker = Theirs(pay=there)
    with StepwellTest(include=worker.workflows) as test:
        worker.serve(test.app)

        async def main() -> None:
            handle = await test.start(worker.workflows[0], 1, id="r")
            await test.sleep("1s")
            await handle.send(go, 7)
            assert await handle.result() == [7]
            before = await record_of(test, "r", RemoteWorkflow("pay"))
            assert await record_of(test, "r", here) == before
            assert before["journal"]["stepResults"]["load"]["machine"] == "big"

        test.drive(main())
