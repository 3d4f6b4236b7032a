"""Wrong ways to build and start blueprints."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell import Blueprint, NodeContext, Retry, Stepwell


@dataclass
class Watch:
    item: str


async def buy(ctx: NodeContext[int]) -> str:
    return ctx.input  # E: return-value  # P: reportReturnType


flow = Blueprint("price-watch", input=Watch, output=int)
flow.node("a", buy, retries=3)  # E: call-arg  # P: reportCallIssue
flow.node("a", buy, join="most")  # E: arg-type  # P: reportArgumentType
flow.node("a", 7)  # E: arg-type  # P: reportArgumentType
flow.batch("b", buy)  # E: call-arg  # P: reportCallIssue
flow.subflow("c", Blueprint("inner"), retry=Retry())  # E: call-arg  # P: reportCallIssue
flow.edge("a", "b", when="x")  # E: call-arg  # P: reportCallIssue
Blueprint("other", verison="1")  # E: call-overload  # P: reportCallIssue


async def starts(app: Stepwell) -> None:
    await app.start(flow, "desk")  # E: misc  # P: reportArgumentType
    number: str = await (await app.start(flow, Watch("desk"))).result()  # E: assignment  # P: reportAssignmentType
    print(number)
