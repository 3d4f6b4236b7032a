"""A server, and a worker of theirs behind it."""

from __future__ import annotations

from typing import Any

from stepwell import Context, workflow
from tests.runtime.remote.theirs import Body, Their, Theirs
from tests.server.voyant_client import Client, served


@workflow(id="child")
async def child(ctx: Context, how: Any = None) -> Any:
    if how == "waits":
        await ctx.sleep("1h")
    if how == "fails":
        raise Their("the child failed", "E_CHILD")
    return {"got": how}


class World:
    """A server and a worker of theirs with one body, `w`."""

    def __init__(self, body: Body, **bodies: Body) -> None:
        self.worker = Theirs(w=body, **bodies)

    def run(self, test: Any, *include: Any, **options: Any) -> None:
        async def main(client: Client) -> None:
            self.worker.serve(client.app)
            await test(client)

        given = {getattr(item, "id", "") for item in include}
        workflows = [item for item in self.worker.workflows if item.id not in given]
        served(main, include=[*workflows, child, *include], **options)

    async def start(self, client: Client, **members: Any) -> dict[str, Any]:
        return await client.start("w", **{"runId": "r", **members})


def only(items: Any) -> Any:
    (item,) = items
    return item
