"""A long step: it reports how far it is, goes on from there, and uses a client that the app opened once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from stepwell import Context, NotInWorkflowError, Retry, StepContext, Stepwell, current_step, step, workflow


class Warehouse:
    """Stands for an HTTP client or a pool of connections."""

    def __init__(self) -> None:
        self.rows: list[int] = []


@asynccontextmanager
async def lifespan() -> AsyncGenerator[Warehouse]:
    yield Warehouse()  # opened with the app, closed with it


def place(me: StepContext) -> str:
    return f"{me.run_id}/{me.id}, attempt {me.attempt}"


@step(retry=Retry(attempts=2, first_delay="10ms"))
async def copy_rows(count: int) -> str:
    me = current_step()
    warehouse = me.get(Warehouse)  # by type
    done: int = me.last_progress or 0  # what an earlier attempt has said
    me.log.info("%s starts at row %d", place(me), done)
    for row in range(done, count):
        warehouse.rows.append(row)
        me.heartbeat(row + 1)
        if row == 4 and me.attempt == 1:
            raise ConnectionError("half way")
    return me.idempotency_key  # the same for all attempts: hand it to services that deduplicate


@step
async def rows() -> list[int]:
    return current_step().get(Warehouse).rows


@workflow
async def copy(ctx: Context) -> list[int]:
    key = await copy_rows(10)
    assert ctx.run_id in key
    return await rows()


async def main() -> None:
    async with Stepwell("memory://", include=[__name__], lifespan=lifespan) as app:
        result = await (await app.start(copy, id="copy-1")).result()
        assert result == list(range(10)), result  # no row twice
    try:
        current_step()
    except NotInWorkflowError as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main())
