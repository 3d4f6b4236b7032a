"""The acceptance tests of blueprints, 9 to 19: time, batches, loops, subflows, values, state, long nodes, retries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Blueprint, Handle, NodeContext, RunError, Stepwell
from tests.blueprints.realms import MINUTE_MS, Doom, Realm, committed, did, dying, effects, end_leases, stands, survives

Flow = Blueprint[Any, Any]


async def echo(ctx: NodeContext[Any]) -> Any:
    did()
    return ctx.input


async def nothing(ctx: NodeContext[Any]) -> None:
    did()


async def square(ctx: NodeContext[int]) -> int:
    did()
    return ctx.input * ctx.input


async def count(ctx: NodeContext[Any]) -> int:
    did()
    number = ctx.state.get("n", 0) + 1
    ctx.state.set("n", number)
    return int(number)


NAP: Flow = Blueprint("nap").sleep("nap", "2s").node("after", echo).edge("nap", "after")


def test_09_a_sleep_takes_its_time_and_survives_all_workers(realm: Realm) -> None:
    async def body() -> None:
        async with realm.app(NAP) as client:
            began = realm.clock.now()
            handle = await client.start(NAP, 5, id="r")
            async with realm.working(NAP) as first:
                while (await first.runs.state("r")).nodes["nap"].status != "waiting":
                    await asyncio.sleep(0.1)
            assert await committed(client, "r") == {}
            async with realm.working(NAP):
                assert await handle.result() == 5
            entry = (await client.runs.state("r")).nodes["after"]
            assert entry.started_at is not None
            assert entry.started_at >= began + 2000

    realm.run(body())


def test_09_a_sleep_survives_a_death_at_every_write(realm: Realm) -> None:
    def check(value: Any) -> None:
        assert value == 5

    found = realm.run(survives(realm, NAP, 5, check))

    assert all(counter == {"after": 1} for counter in found)


BATCH: Flow = (
    Blueprint("batch").batch("each", square, over="items", chunk_size=50).node("end", echo).edge("each", "end")
)


def test_10_a_batch_of_1000_in_chunks_keeps_its_order_though_workers_die(realm: Realm) -> None:
    async def body() -> None:
        async with realm.app(BATCH) as client:
            handle = await client.start(BATCH, {"items": list(range(1000))}, id="r")
            for writes in (4, 7, 5):
                async with dying(realm.app(BATCH, policy=Doom(writes, "before"))) as doom:
                    await doom.dead.wait()
                await end_leases(client)
            async with realm.working(BATCH):
                assert await handle.result() == [n * n for n in range(1000)]
            assert set((await committed(client, "r")).values()) == {1}

    realm.run(body())


def test_11_a_loop_goes_round_a_thousand_times(realm: Realm) -> None:
    flow = Blueprint("loop").loop("loop", start="count", end="count", condition="(n ?? 0) < 1000").node("count", count)
    flow.node("in", nothing).node("out", echo).edge("in", "loop").edge("loop", "out")

    async def body() -> None:
        async with realm.working(flow, cached_runs=100) as app:
            handle = await app.start(flow, None, id="r")
            assert await handle.result() == 1000
            assert (await app.runs.state("r")).nodes["count"].visits == 1000

    realm.run(body())


INNER: Flow = (
    Blueprint("inner").node("ask", nothing).wait("wait").node("got", echo).edge("ask", "wait").edge("wait", "got")
)
OUTER: Flow = Blueprint("outer").subflow("sub", INNER).node("end", echo).edge("sub", "end")


def test_12_a_subflow_that_waits_survives_a_death_at_every_write(realm: Realm) -> None:
    async def answer(app: Stepwell, handle: Handle[Any]) -> None:
        await stands(app, handle.id, "sub/wait")
        await handle.resume("sub/wait", output="yes")

    def check(value: Any) -> None:
        assert value == "yes"

    found = realm.run(survives(realm, OUTER, None, check, script=answer))

    assert all(counter == {"sub/ask": 1, "sub/got": 1, "end": 1} for counter in found)


def test_13_a_node_that_returns_nothing_has_completed(realm: Realm) -> None:
    flow = Blueprint("void").node("a", nothing).node("b", echo).node("c", nothing).edge("a", "b").edge("a", "c")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, 1, id="r")
            assert await handle.result() == {"b": None, "c": None}
            assert await committed(app, "r") == {"a": 1, "b": 1, "c": 1}
            assert {node.status for node in (await app.runs.state("r")).nodes.values()} == {"completed"}

    realm.run(body())


@pytest.mark.parametrize("text", ["123", "true", "null", "", '{"a": 1}', "1e3", "\u0000", "ünï"])
def test_14_texts_stay_texts(realm: Realm, text: str) -> None:
    async def keep(ctx: NodeContext[Any]) -> Any:
        ctx.state.set("kept", ctx.input)
        return ctx.input

    async def read(ctx: NodeContext[Any]) -> Any:
        return [ctx.input, ctx.state["kept"]]

    flow = Blueprint("texts").node("keep", keep).wait("wait").node("read", read, inputs="keep")
    flow.edge("keep", "wait").edge("wait", "read")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, text, id="r")
            await stands(app, "r", "wait")
            await handle.resume("wait", output=text)
            assert await handle.result() == [text, text]
            assert (await app.runs.state("r")).nodes["wait"].output == text

    realm.run(body())


def test_15_branches_that_write_different_keys_lose_none(realm: Realm) -> None:
    async def write(ctx: NodeContext[Any]) -> None:
        before = dict.fromkeys(ctx.state)
        await asyncio.sleep(0)
        ctx.state.set(ctx.node_id, len(before))

    async def read(ctx: NodeContext[Any]) -> list[str]:
        return ctx.state.keys()

    flow = Blueprint("writers").node("left", write).node("right", write).node("read", read)
    flow.edge("left", "read").edge("right", "read")

    async def body() -> None:
        async with realm.working(flow, cached_runs=100) as app:
            handles = [await app.start(flow, None) for _ in range(100)]
            for handle in handles:
                assert await handle.result() == ["left", "right"]

    realm.run(body())


async def scribble(ctx: NodeContext[Any]) -> int:
    for number in range(150):
        ctx.state.set("same", number)
        ctx.state.set(f"key {number}", number)
    ctx.state.set("gone", 1)
    ctx.state.delete("gone")
    ctx.state.delete("given")
    ctx.state.delete("back")
    ctx.state.set("back", 2)
    ctx.state.delete("never there")
    return int(ctx.state["same"])


def test_16_many_writes_of_one_node_end_with_the_last_of_each_key(realm: Realm) -> None:
    flow = Blueprint("scribble").node("a", scribble).wait("wait").edge("a", "wait")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, {"given": 1, "back": 1}, id="r")
            await stands(app, "r", "wait")
            state = (await app.runs.state("r")).state
            assert state == {"same": 149, "back": 2, **{f"key {n}": n for n in range(150)}}
            await handle.resume("wait", output="done")
            assert await handle.result() == "done"

    realm.run(body())


KEYS = ["it's", "a,b", "a.b", "a/b", "~a~", "a:b", "a b", "[0]", "$x", "ü", "", "%2F", '"', "_outputs", "__proto__"]


def test_17_keys_may_hold_any_sign(realm: Realm) -> None:
    async def write(ctx: NodeContext[Any]) -> None:
        for key in KEYS:
            ctx.state.set(key, {key: key})

    async def read(ctx: NodeContext[Any]) -> dict[str, Any]:
        return {key: ctx.state[key] for key in KEYS}

    flow = (
        Blueprint("keys")
        .node("write", write)
        .wait("wait")
        .node("read", read)
        .edge("write", "wait")
        .edge("wait", "read")
    )

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, dict.fromkeys(KEYS, 0), id="r")
            await stands(app, "r", "wait")
            assert (await app.runs.state("r")).state == {key: {key: key} for key in KEYS}
            await handle.resume("wait")
            assert await handle.result() == {key: {key: key} for key in KEYS}

    realm.run(body())


@pytest.mark.parametrize("key", ["$schema", "$raw", "$blob", "$sealed"])
def test_17_objects_whose_first_key_begins_with_a_dollar_stay_as_they_are(realm: Realm, key: str) -> None:
    async def give(ctx: NodeContext[Any]) -> Any:
        return ctx.input

    flow = Blueprint("dollars").node("a", give).node("b", give).node("c", echo, inputs={"x": "a"}).node("d", echo)
    flow.edge("a", "b", condition=f'result.output["{key}"] === 5').edge("b", "c").edge("b", "d")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, {key: 5}, id="r")
            assert await handle.result() == {"c": {"x": {key: 5}}, "d": {key: 5}}
            assert (await app.runs.state("r")).nodes["a"].output == {key: 5}

    realm.run(body())


def test_18_a_node_that_outlasts_every_lease_runs_once(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.testing.virtual._IO_SECONDS", 0.01)  # a slow disk must not cost the lease

    async def slow(ctx: NodeContext[Any]) -> int:
        did()
        await asyncio.sleep(1500)
        return 7

    flow = Blueprint("slow").node("slow", slow).node("end", echo).edge("slow", "end")
    short = {"lease_ms": 10 * MINUTE_MS, "margin_ms": MINUTE_MS, "poll_ms": 3 * MINUTE_MS}

    async def body() -> None:
        async with realm.working(flow, **short) as app, realm.working(flow, **short):
            handle = await app.start(flow, None, id="r")
            assert await handle.result() == 7
            assert (await app.runs.get("r")).takes <= 2
            assert await committed(app, "r") == {"slow": 1, "end": 1}

    realm.run(body())
    assert effects["r/slow"] == 1


RETRYING = {
    "id": "retrying",
    "nodes": [
        {
            "id": "late",
            "uses": "late",
            "config": {"maxRetries": 4, "retryDelay": 2000, "backoff": 3, "maxDelay": 5000, "timeout": 1000},
        }
    ],
}


class Attempts:
    """When each attempt of `late` began (ms). Two fail, one takes too long, the last one works."""

    def __init__(self, realm: Realm) -> None:
        self.realm = realm
        self.began: list[int] = []

    async def late(self, ctx: NodeContext[Any]) -> str:
        self.began.append(self.realm.clock.now())
        if ctx.step.attempt <= 2:
            raise ValueError("not yet")
        if ctx.step.attempt == 3:
            await asyncio.sleep(3600)
        return "now"

    @property
    def flow(self) -> Flow:
        return Blueprint.from_json(RETRYING, include={"late": self.late})


def test_19_retries_keep_to_delay_backoff_and_timeout(realm: Realm) -> None:
    attempts = Attempts(realm)

    async def body() -> None:
        async with realm.working(attempts.flow) as app:
            handle = await app.start(attempts.flow, None, id="r")
            assert await handle.result() == "now"

    realm.run(body())
    one, two, three, four = attempts.began
    assert two >= one + 2000
    assert three >= two + 5000, "6 s, but at most maxDelay"
    assert four >= three + 1000 + 5000, "the attempt was stopped after its timeout"
    assert four < three + 3_600_000


def test_19_retries_go_on_with_another_worker(realm: Realm) -> None:
    attempts = Attempts(realm)

    async def body() -> None:
        flow = attempts.flow
        async with realm.app(flow) as client:
            handle = await client.start(flow, None, id="r")
            for count in (1, 2):
                async with realm.working(flow):
                    while len(attempts.began) < count:
                        await asyncio.sleep(1)
            async with realm.working(flow):
                assert await handle.result() == "now"

    realm.run(body())
    assert len(attempts.began) == 4


def test_19_attempts_end_after_as_many_as_there_are(realm: Realm) -> None:
    async def broken(ctx: NodeContext[Any]) -> None:
        did()
        raise ValueError("never")

    document = {"id": "never", "nodes": [{"id": "a", "uses": "broken", "config": {"maxRetries": 3, "retryDelay": 50}}]}
    flow = Blueprint.from_json(document, include={"broken": broken})

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, None, id="r")
            with pytest.raises(RunError, match="node 'a': never"):
                await handle.result()

    realm.run(body())
    assert effects["r/a"] == 3
