"""An export holds tokens of hooks that the run chose itself: who may not complete hooks may not read it."""

from __future__ import annotations

from httpx import ASGITransport, AsyncClient

from stepwell import Context, Stepwell, workflow
from tests.helpers import run


@workflow(id="asks")
async def asks(ctx: Context) -> int:
    return await (await ctx.create_hook(int, token="known-to-the-shop"))


def test_who_may_only_read_gets_no_export() -> None:
    async def main() -> list[int]:
        app = Stepwell("memory://", include=[asks])
        server = app.asgi()
        async with app, AsyncClient(transport=ASGITransport(server), base_url="http://localhost") as http:
            await server.open()
            await app.start(asks, id="r")
            statuses = []
            for scopes in (["read"], ["read", "signal"]):
                key = await server.access.keys.create(scopes=scopes)
                headers = {"authorization": f"Bearer {key.text}"}
                statuses.append((await http.get("/api/runs/r/export", headers=headers)).status_code)
                seen = await http.get("/api/runs/r/events", headers=headers)
                assert "known-to-the-shop" not in seen.text
            return statuses

    assert run(main()) == [403, 200]
