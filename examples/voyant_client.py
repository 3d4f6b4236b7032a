"""A client of the Voyant orchestrator, as it is, with a server of ours: only the address and the key are new."""

import asyncio
from typing import Any

import httpx

from stepwell import Context, Event, Signal, Stepwell, step, workflow
from stepwell.server import Server, ServerOptions

settled = Event("payment.settled", dict[str, int])
approve = Signal("approve", dict[str, str])


@step
async def load(booking: str) -> dict[str, Any]:
    return {"booking": booking, "total": 120}


@workflow(id="invoice.issue")
async def issue(ctx: Context, input: dict[str, str]) -> dict[str, Any]:
    invoice = await load(input["bookingId"])
    paid = await ctx.receive(settled)
    by = await ctx.receive(approve, timeout="7d", default={"by": "nobody"})
    return {"total": invoice["total"], "paid": paid["amount"], "by": by["by"]}


TRIGGER = {
    "workflowId": "invoice.issue",
    "workflowVersion": "2026-05-01",
    "input": {"bookingId": "bk_7"},
    "tenantMeta": {"tenantId": "tnt_acme", "projectId": "prj_erp", "organizationId": "org_acme"},
    "runId": "run_inv_001",
    "tags": ["invoice"],
    "environment": "production",
}


async def client(http: httpx.AsyncClient) -> dict[str, Any]:
    run = (await http.post("/api/runs", json=TRIGGER)).json()
    assert run["status"] == "waiting"
    assert run["pendingWaitpoints"][0]["meta"] == {"eventType": "payment.settled"}

    event = {"eventType": "payment.settled", "payload": {"amount": 120}}
    run = (await http.post("/api/runs/run_inv_001/events", json=event)).json()
    assert run["pendingWaitpoints"][0]["clientWaitpointId"] == "signal:approve:1"

    signal = {"name": "approve", "payload": {"by": "usr_3"}}
    await http.post("/api/runs/run_inv_001/signals", json=signal)
    return (await http.get("/api/runs/run_inv_001")).json()  # type: ignore[no-any-return]


async def main() -> None:
    app = Stepwell("memory://", include=[issue])
    async with app:
        server = Server(app, ServerOptions())
        await server.open()
        key = await server.access.keys.create(scopes=("trigger", "signal", "read"), name="billing")
        headers = {"authorization": f"Bearer {key.text}"}
        transport = httpx.ASGITransport(server)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
            run = await client(http)
    assert run["status"] == "completed"
    assert run["output"] == {"total": 120, "paid": 120, "by": "usr_3"}
    assert run["triggeredBy"] == {"kind": "api", "actor": "billing"}
    assert run["tags"] == ["invoice"]
    print(run["output"])


if __name__ == "__main__":
    asyncio.run(main())
