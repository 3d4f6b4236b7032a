"""The blocking twin against a server that listens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from stepwell import RunQuery, Signal, Stepwell
from stepwell.client import SyncClient
from stepwell.errors import AccessError, RunCancelledError, RunError, RunNotFoundError
from stepwell.server import Server, ServerOptions
from tests.client import shop
from tests.client.shop import Order, approved, checkout, paid, words


class Listening:
    """A server in a thread."""

    def __init__(self) -> None:
        self.url = ""
        self.key = ""
        self._is_up = threading.Event()
        self._listener: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Listening:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.should_exit = True
        self._thread.join()

    async def _serve(self) -> None:
        server = Server(Stepwell("memory://", include=[shop]), ServerOptions(), worker=True)
        listener = self._listener = uvicorn.Server(uvicorn.Config(server, port=0, log_level="warning"))
        task = asyncio.create_task(listener.serve())
        while not listener.started:
            await asyncio.sleep(0.01)
        self.key = (await server.access.keys.create(scopes=("admin",))).text
        self.url = f"http://127.0.0.1:{listener.servers[0].sockets[0].getsockname()[1]}"
        self._is_up.set()
        await task


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


@pytest.fixture
def s(listening: Listening) -> Iterator[SyncClient]:
    with SyncClient(listening.url, key=listening.key, include=[shop]) as s:
        yield s


def test_runs_are_started_one_by_one_and_together(s: SyncClient) -> None:
    assert s.start(checkout, Order(1)).result().order == 1
    assert [handle.result().order for handle in s.start_many(checkout, [Order(1), Order(2)])] == [1, 2]


def test_messages_reach_their_runs(s: SyncClient) -> None:
    signalled, told, hooked = s.start(shop.approval), s.start(shop.payment, delay="50ms"), s.start(shop.hooked)
    signalled.send(approved, False)
    assert s.publish(paid, 7) == 0
    assert s.publish(paid, 8, id="eight") >= 0
    while hooked.status() != "waiting":
        pass
    assert s.complete("a token of ours", "done") == hooked.id

    assert (signalled.result(), hooked.result()) == (False, "done")
    assert told.status() in ("queued", "running", "waiting", "completed")


def test_runs_are_listed_and_looked_into(s: SyncClient) -> None:
    handle = s.start(checkout, Order(3), tags={"of": "looking"})
    handle.result()

    assert [head.id for head in s.runs.list(tag={"of": "looking"}).runs] == [handle.id]
    assert [head.id for head in s.runs.iterate(tag={"of": "looking"})] == [handle.id]
    assert handle.metadata() == {"lines": 0}
    assert s.runs.timeline(handle.id).workflow == "checkout"
    assert "completed" in str(s.runs.explain(handle.id))
    assert list(s.runs.events(handle.id)) == list(s.runs.events(handle.id, follow=True))
    assert s.runs.replay(handle.id).is_ok
    with pytest.raises(RunNotFoundError):
        s.handle("nobody").head()


def test_blueprints_are_looked_at_and_answered(s: SyncClient) -> None:
    handle = s.start(shop.flow, 4)
    while handle.status() != "waiting":
        pass

    assert s.runs.state(handle.id).waiting == ("approve",)
    assert handle.resume("approve", action="yes", output=5) is True
    assert handle.result() == 10
    assert len(s.runs.node_events(handle.id)) > 0


def test_runs_are_steered(s: SyncClient) -> None:
    one, two = s.start(shop.idle), s.start(shop.idle, tags={"of": "steering"})
    s.runs.pause(one.id)
    s.runs.resume(one.id)
    one.cancel("enough", grace="1s")
    with pytest.raises(RunCancelledError, match="enough"):
        one.result()

    assert [item.is_ok for item in s.runs.terminate(RunQuery(tag=(("of", "steering"),)))] == [True]
    assert [item.is_ok for item in s.runs.cancel([one.id, two.id])] == [False, False]


def test_runs_are_started_over_and_taken_away(s: SyncClient) -> None:
    failed = s.start(shop.refused, Order(5))
    with pytest.raises(RunError):
        failed.result()
    done = s.start(checkout, Order(6))
    done.result()

    assert s.runs.retry(failed.id) == f"{failed.id}-retry"
    assert s.handle(s.runs.fork(done.id, input=Order(7)), checkout).result().order == 7
    copy = s.runs.import_(s.runs.export(done.id), id="a-copy")
    s.runs.delete(copy)
    assert [item.run for item in s.runs.delete([done.id], force=True)] == [done.id]
    assert failed.id not in [item.run for item in s.runs.purge("1h", dry_run=True)]


def test_streams_are_read_also_with_a_token(s: SyncClient, listening: Listening) -> None:
    handle = s.start(shop.speaking, "a b")
    token = s.tokens.create(run=handle.id, stream=words, ttl="1m")

    with SyncClient(listening.url, key=token.token) as page:
        assert list(page.handle(handle.id).stream(words))[-2:] == ["a2", "b2"]
        with pytest.raises(AccessError):
            page.handle(handle.id).send(Signal("x"), 1)
