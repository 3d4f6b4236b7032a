"""The routes of our own, as a client uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from msgspec import Struct

from stepwell import (
    Blueprint,
    Codec,
    Context,
    Event,
    NodeContext,
    Signal,
    Stream,
    step,
    workflow,
)
from stepwell.codec import AesGcm
from stepwell.runtime.presence import TASK_NAME, keep_presence
from stepwell.server import Server, ServerOptions
from stepwell.testing import StepwellTest
from tests.server.asking import Reply, ask

words = Stream("words", str)
go = Signal("go", int)
news = Event("news", int)


class Order(Struct):
    article: str
    count: int = 1


@step
async def charge(order: Order) -> int:
    if order.article == "nothing":
        raise ValueError("nothing to sell")
    return order.count * 10


@workflow(tags={"team": "shop"}, queue="default")
async def checkout(ctx: Context, order: Order) -> int:
    """Sells something.

    And charges for it.
    """
    return await charge.options(retry=None)(order)


@workflow
async def talking(ctx: Context) -> int:
    ctx.send(words, "hello")
    return await ctx.receive(go)


@workflow
async def listening(ctx: Context) -> int:
    return await ctx.receive(news)


async def one(ctx: NodeContext[Any]) -> int:
    return 1


asking = Blueprint[Any, Any]("asking").node("a", one).wait("b").edge("a", "b")


class Api:
    """A server, and requests to it."""

    def __init__(self, test: StepwellTest) -> None:
        self.app = test.app
        self.server = Server(test.app, ServerOptions(dev=True), worker=True)

    async def get(self, target: str, **more: Any) -> Any:
        """What is answered with 200."""
        return self._checked(await ask(self.server, "GET", target, **more), 200)

    async def post(self, target: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        """What is answered with this status."""
        return self._checked(await ask(self.server, "POST", target, json={} if body is None else body, **more), status)

    async def ask(self, method: str, target: str, **more: Any) -> Reply:
        """Anything else."""
        return await ask(self.server, method, target, **more)

    def _checked(self, reply: Reply, status: int) -> Any:
        assert reply.status == status, reply.body
        return reply.json


Play = Callable[[Callable[[Api], Coroutine[Any, Any, None]]], None]


def _play(codec: Codec | None = None) -> Iterator[Play]:
    with StepwellTest(include=[checkout, talking, listening, asking], codec=codec) as test:

        async def played(scenario: Callable[[Api], Coroutine[Any, Any, None]]) -> None:
            api = Api(test)
            await api.server.open()
            await scenario(api)
            await api.server.feeds.aclose()

        yield lambda scenario: test.drive(played(scenario))


@pytest.fixture
def play() -> Iterator[Play]:
    """Plays with a server in virtual time."""
    yield from _play()


@pytest.fixture
def sealed_play() -> Iterator[Play]:
    """The same, encrypted."""
    yield from _play(Codec(AesGcm({"k": bytes(32)}, current="k")))


async def sold(api: Api, id: str, article: str = "tea", **options: Any) -> None:
    """A checkout that has ended."""
    handle = await api.app.start(checkout, Order(article), id=id, **options)
    await asyncio.gather(handle.result(), return_exceptions=True)


# --- lists


def test_runs_are_listed_newest_first_with_what_there_is_to_say(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "one", tags={"customer": "acme"}, metadata={"note": {"a": 1}})
        await sold(api, "two", "nothing")
        await api.app.start(talking, id="three")
        await asyncio.sleep(1)
        third, second, first = (await api.get("/api/runs"))["runs"]

        assert (first["id"], first["status"], first["workflow"], first["queue"]) == (
            "one",
            "completed",
            "checkout",
            "default",
        )
        assert (first["tags"], first["metadata"]) == ({"team": "shop", "customer": "acme"}, {"note": {"a": 1}})
        assert first["ended_at"] >= first["created_at"]
        assert "parent" not in first
        assert second["status"] == "failed"
        assert "nothing to sell" in second["error"]
        assert (third["status"], third["waiting"]) == ("waiting", [{"kind": "signal", "name": "go"}])

    play(scenario)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("workflow=talking", ["c"]),
        ("status=failed", ["b"]),
        ("status=failed,waiting", ["c", "b"]),
        ("status=failed&status=waiting", ["c", "b"]),
        ("tag=customer:acme", ["a"]),
        ("tag=customer:acme&tag=team:shop", ["a"]),
        ("tag=customer:other", []),
        ("metadata=n:1", ["a"]),
        ("metadata=n:%221%22", []),
        ("text=b", ["b"]),
        ("since=0", ["c", "b", "a"]),
        ("until=1", []),
        ("parent=x", []),
        ("status=completed&workflow=checkout", ["a"]),
    ],
)
def test_runs_are_filtered(play: Play, query: str, found: list[str]) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "a", tags={"customer": "acme"}, metadata={"n": 1})
        await sold(api, "b", "nothing")
        await api.app.start(talking, id="c")
        await asyncio.sleep(1)
        assert [item["id"] for item in (await api.get(f"/api/runs?{query}"))["runs"]] == found

    play(scenario)


def test_pages_lead_to_all_runs(play: Play) -> None:
    async def scenario(api: Api) -> None:
        for number in range(7):
            await sold(api, f"r{number}")
        found: list[str] = []
        cursor = ""
        while True:
            page = await api.get(f"/api/runs?limit=3{cursor}")
            found += [item["id"] for item in page["runs"]]
            if page["cursor"] is None:
                break
            cursor = f"&cursor={page['cursor']}"
        assert found == [f"r{number}" for number in reversed(range(7))]

    play(scenario)


# --- looking


def test_a_journal_is_read_in_pages_of_whole_frames(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r")
        whole = await api.get("/api/runs/r/events")
        assert [item["type"] for item in whole["events"]] == ["created", "step", "ended"]
        assert whole["done"] is True
        first = await api.get("/api/runs/r/events?limit=1")
        assert (len(first["events"]), first["done"]) == (1, False)
        rest = await api.get(f"/api/runs/r/events?after={first['next']}")
        assert first["events"] + rest["events"] == whole["events"]
        assert (await api.get(f"/api/runs/r/events?after={rest['next']}"))["events"] == []
        inner = await api.get(f"/api/runs/r/events?after={whole['events'][1]['seq']}.0")
        assert inner["events"] == whole["events"][2:]

    play(scenario)


def test_what_is_said_of_a_run_holds_no_seed(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r")
        seed = json.loads(await api.app.runs.export("r", with_seed=True))["frames"][0]["entries"][0]["seed"]
        for what in ("", "/events", "/export", "/timeline", "/explain"):
            reply = await api.ask("GET", f"/api/runs/r{what}")
            assert reply.status == 200
            assert seed.encode() not in reply.body

    play(scenario)


def test_a_run_is_explained_and_told(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r", "nothing")
        explained = await api.get("/api/runs/r/explain")
        assert (explained["status"], explained["cure"]) == ("failed", "stepwell runs retry r")
        told = await api.get("/api/runs/r/timeline")
        assert [item["kind"] for item in told["items"]] == ["step", "end"]
        assert told["input"] == {"article": "nothing", "count": 1}

    play(scenario)


def test_the_state_of_a_blueprint_is_shown_and_its_node_answered(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await api.app.start(asking, id="r")
        await asyncio.sleep(1)
        state = await api.get("/api/runs/r/state")
        assert (state["waiting"], state["nodes"]["a"]["status"]) == (["b"], "completed")
        earlier = await api.get("/api/runs/r/state?at=1")
        assert earlier["nodes"]["a"]["status"] != "completed"
        assert (await api.post("/api/runs/r/nodes/b", {"output": 5}))["accepted"] is True
        assert (await api.post("/api/runs/r/nodes/b", {"output": 5}))["accepted"] is False
        assert (await api.ask("POST", "/api/runs/r/nodes/b", json={"output": 6})).status == 409
        assert await api.app.handle("r").result() == 5

    play(scenario)


# --- steering


def test_runs_are_paused_let_go_on_and_terminated(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await api.app.start(talking, id="r")
        assert await api.post("/api/runs/r/pause", {"reason": "a look", "request_id": "1"}, status=202) == {"run": "r"}
        await asyncio.sleep(1)
        assert (await api.app.runs.get("r")).status == "paused"
        await api.post("/api/runs/r/pause", {"reason": "a look", "request_id": "1"}, status=202)
        await api.post("/api/runs/r/unpause", status=202)
        await asyncio.sleep(1)
        assert (await api.app.runs.get("r")).status == "waiting"
        await api.post("/api/runs/r/terminate", {"reason": "enough"}, status=202)
        await asyncio.sleep(1)
        head = await api.app.runs.get("r")
        assert head.status == "terminated"
        assert (await api.ask("POST", "/api/runs/r/pause", json={})).json["code"] == "already_ended"

    play(scenario)


def test_runs_are_retried_forked_and_deleted(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r", "nothing")
        assert await api.post("/api/runs/r/retry", status=201) == {"run": "r-retry", "origin": "r"}
        assert (await api.post("/api/runs/r/retry", {"id": "again"}, status=201))["run"] == "again"
        assert (await api.ask("POST", "/api/runs/r/retry", json={"id": "again"})).status == 409
        await sold(api, "s")
        fork = await api.post("/api/runs/s/fork", {"edit": {"charge": 99}, "id": "f"}, status=201)
        assert fork == {"run": "f", "origin": "s"}
        assert await api.app.handle("f").result() == 99
        other = await api.post("/api/runs/s/fork", {"input": {"article": "cup", "count": 3}}, status=201)
        assert await api.app.handle(other["run"]).result() == 30
        assert (await api.ask("POST", "/api/runs/s/fork", json={"from_step": "nowhere"})).status == 400
        assert (await api.ask("DELETE", "/api/runs/s")).status == 204
        assert (await api.ask("GET", "/api/runs/s/events")).status == 404

    play(scenario)


def test_a_run_is_exported_and_imported(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r")
        document = (await api.ask("GET", "/api/runs/r/export")).body
        reply = await api.ask("POST", "/api/import", body=document)
        assert (reply.status, reply.json, reply.headers["location"]) == (201, {"run": "r-import"}, "/api/runs/r-import")
        assert (await api.ask("POST", "/api/import?id=other", body=document)).json == {"run": "other"}
        assert (await api.ask("POST", "/api/import?id=other", body=document)).status == 409
        assert (await api.ask("POST", "/api/import", body=b"{}")).status == 400
        assert (await api.ask("POST", "/api/import?id=a%2Fb", body=document)).status == 400

    play(scenario)


# --- many


def test_many_runs_are_steered_by_name_or_by_filter(play: Play) -> None:
    async def scenario(api: Api) -> None:
        for number in range(3):
            await api.app.start(talking, id=f"t{number}")
        await sold(api, "s")
        found = await api.post("/api/bulk/pause", {"runs": ["t0", "s", "nobody"]})
        assert [(item["run"], item["ok"], item.get("code")) for item in found["results"]] == [
            ("t0", True, None),
            ("s", False, "already_ended"),
            ("nobody", False, "not_found"),
        ]
        found = await api.post("/api/bulk/cancel", {"filter": {"workflow": "talking"}, "reason": "closed"})
        assert sorted(item["run"] for item in found["results"]) == ["t0", "t1", "t2"]
        assert found["cursor"] is None
        await asyncio.sleep(1)
        found = await api.post("/api/bulk/retry", {"filter": {"workflow": "talking"}})
        assert sorted(item["new"] for item in found["results"]) == ["t0-retry", "t1-retry", "t2-retry"]
        found = await api.post("/api/bulk/delete", {"filter": {"text": "s"}})
        assert [(item["run"], item["ok"]) for item in found["results"]] == [("s", True)]

    play(scenario)


# --- streams


def test_streams_are_listed_and_read(play: Play) -> None:
    async def scenario(api: Api) -> None:
        handle = await api.app.start(talking, id="r")
        await asyncio.sleep(1)
        assert await api.get("/api/runs/r/streams") == {"streams": [{"name": "words"}]}
        page = await api.get("/api/runs/r/streams/words")
        assert page == {
            "chunks": [{"index": 0, "value": "hello", "source": "", "attempt": 1, "restarts": False}],
            "next": 1,
            "done": False,
        }
        await handle.send(go, 1)
        await handle.result()
        assert (await api.get("/api/runs/r/streams/words?start=1")) == {"chunks": [], "next": 1, "done": True}

    play(scenario)


def test_a_reader_may_wait_for_what_comes(play: Play) -> None:
    async def scenario(api: Api) -> None:
        handle = await api.app.start(talking, id="r")
        await asyncio.sleep(1)
        begun = api.app.backend.clock.now()
        assert (await api.get("/api/runs/r/streams/words?start=1&wait=10"))["done"] is False
        assert api.app.backend.clock.now() - begun >= 10_000
        waiting = asyncio.ensure_future(api.get("/api/runs/r/streams/words?start=1&wait=30"))
        await asyncio.sleep(1)
        await handle.send(go, 1)
        assert (await waiting)["done"] is True
        assert len(api.server.feeds) == 0

    play(scenario)


# --- workflows, queues, workers, events


def test_workflows_are_described(play: Play) -> None:
    async def scenario(api: Api) -> None:
        every = {item["id"]: item for item in (await api.get("/api/workflows"))["workflows"]}
        assert set(every) == {"checkout", "talking", "listening", "asking"}
        found = await api.get("/api/workflows/checkout")
        assert found == every["checkout"]
        assert found["description"] == "Sells something.\n\nAnd charges for it."
        assert found["input"]["$defs"]["Order"]["required"] == ["article"]
        assert found["output"] == {"type": "integer"}
        assert (found["has_input"], found["is_blueprint"]) == (True, False)
        assert (every["talking"]["has_input"], every["asking"]["is_blueprint"]) == (False, True)
        assert (await api.ask("GET", "/api/workflows/none")).status == 404
        assert (await api.ask("GET", "/api/workflows/checkout?version=9")).status == 404

    play(scenario)


def test_workers_and_queues_are_shown(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r")
        announced = asyncio.create_task(keep_presence(api.app.client.worker), name=TASK_NAME)  # off in virtual time
        await asyncio.sleep(1)
        (worker,) = (await api.get("/api/workers"))["workers"]
        assert (worker["queues"], "checkout" in worker["workflows"]) == (["default"], True)
        assert (await api.get("/api/queues"))["queues"] == []
        announced.cancel()

    play(scenario)


def test_an_event_reaches_who_waits_for_it(play: Play) -> None:
    async def scenario(api: Api) -> None:
        handle = await api.app.start(listening, id="r")
        await asyncio.sleep(1)
        assert await api.post("/api/publish/news", 7) == {"event": "news", "waiting": 1}
        assert await handle.result() == 7
        assert (await api.post("/api/publish/a/b%20c?id=x", None))["event"] == "a/b c"

    play(scenario)


# --- what is encrypted


def test_payloads_are_opened_with_the_codec_of_the_app(sealed_play: Play) -> None:
    async def scenario(api: Api) -> None:
        await sold(api, "r", metadata={"note": "mine"})
        await sold(api, "f", "nothing")
        (failed, run) = (await api.get("/api/runs"))["runs"]
        assert (run["metadata"], failed["error"]) == ({"note": "mine"}, "ValueError")
        entries = (await api.get("/api/runs/r/events"))["events"]
        assert entries[0]["input"] == {"article": "tea", "count": 1}
        assert b"nothing to sell" in (await api.ask("GET", "/api/runs/f/events")).body
        assert (await api.get("/api/runs/r/timeline"))["items"][0]["value"] == 10
        exported = (await api.ask("GET", "/api/runs/f/export")).body
        assert b"$sealed" in exported
        assert b"nothing to sell" not in exported

    sealed_play(scenario)


def test_without_the_key_all_but_the_payloads_is_shown(sealed_play: Play) -> None:
    async def scenario(api: Api) -> None:
        handle = await api.app.start(talking, id="r", metadata={"note": "mine"})
        await asyncio.sleep(1)
        await handle.send(go, 1)
        await handle.result()
        registry = api.app.registry
        registry.codec = api.app.client.codec = Codec()
        run = (await api.get("/api/runs"))["runs"][0]
        assert run["metadata"] == {"note": {"$sealed": True}}
        entries = (await api.get("/api/runs/r/events"))["events"]
        assert [item["type"] for item in entries][-1] == "ended"
        assert entries[-1]["value"] == {"$sealed": True}
        chunks = (await api.get("/api/runs/r/streams/words"))["chunks"]
        assert chunks[0]["value"] == {"$sealed": True}
        assert (await api.get("/api/runs/r/timeline"))["end"]["value"] == {"$sealed": True}

    sealed_play(scenario)
