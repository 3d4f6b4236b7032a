"""A namespace is a backend of its own: it keeps the contract, and nothing crosses from one to another."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.backends.support import open_sqlite, run_async

from stepwell import backends
from stepwell.backends.sqlite.database import APPLICATION_ID
from stepwell.backends.sqlite.sql import migrations
from stepwell.errors import DefinitionError
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, RunQuery
from stepwell.ports import Backend, Job, Serves, Wanted
from stepwell.runtime.namespaces import view_of
from stepwell.testing.contracts import (
    BlobsContract,
    Contract,
    CoordinationContract,
    QueueContract,
    StoreContract,
    StreamsContract,
    running,
)
from stepwell.testing.contracts.listings import NamespacesContract
from stepwell.testing.contracts.running import bodies, claim_of, created, message, new_run, settled_run


class View(Contract):
    is_shared = False
    is_durable = False
    namespace = "acme"

    @pytest.fixture(autouse=True)
    def _runs_know_their_namespace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The kit compares the heads that come out with those that went in."""
        monkeypatch.setattr(running, "Head", partial(Head, namespace=self.namespace))


class Memory(View):
    async def open(self) -> Backend:
        return view_of(await backends.open("memory://"), self.namespace)


class Sqlite(View):
    directories: tuple[str, ...] = ()

    async def open(self) -> Backend:
        directory = tempfile.mkdtemp()
        self.directories += (directory,)
        backend = await backends.open(f"sqlite:///{directory}/runs.db?relaxed=true")
        # Neighbours that must not be seen: the default namespace, and one that sorts right behind.
        for namespace in ("", "acmf"):
            await created(view_of(backend, namespace), new_run("r", tags={"t": "1"}), new_run("a"), new_run("b"))
        return view_of(backend, self.namespace)

    async def discard(self) -> None:
        for directory in self.directories:
            shutil.rmtree(directory)


class Default(Memory):
    namespace = ""


_BY_NAMESPACE = {name: None for name in vars(NamespacesContract) if name.startswith("test_")}
"""Inside of a namespace there are no others."""


class TestMemoryStore(Memory, StoreContract):
    vars().update(_BY_NAMESPACE)


class TestMemoryQueue(Memory, QueueContract): ...


class TestMemoryCoordination(Memory, CoordinationContract): ...


class TestMemoryBlobs(Memory, BlobsContract): ...


class TestMemoryStreams(Memory, StreamsContract): ...


class TestSqliteStore(Sqlite, StoreContract):
    vars().update(_BY_NAMESPACE)


class TestSqliteQueue(Sqlite, QueueContract): ...


class TestSqliteCoordination(Sqlite, CoordinationContract): ...


class TestSqliteBlobs(Sqlite, BlobsContract): ...


class TestSqliteStreams(Sqlite, StreamsContract): ...


class TestDefaultStore(Default, StoreContract):
    vars().update(_BY_NAMESPACE)


class TestDefaultBlobs(Default, BlobsContract):
    # It refuses prefixes that may be those of other namespaces.
    test_only_what_begins_with_a_prefix_is_deleted_whatever_it_holds = None


class TestDefaultStreams(Default, StreamsContract):
    test_only_streams_that_begin_with_a_prefix_are_deleted_whatever_it_holds = None


NAMES = ("x", "a x", "acme x", " x", " acme x", "  acme x", "acme", "blueprints of all runs/x", "event/a b", "-a x")
"""Names that one namespace might take for those of another."""
NAMESPACES = ("", "a", "acme", "acme-2", "event")


@asynccontextmanager
async def _views(url: str, *namespaces: str) -> AsyncIterator[list[Backend]]:
    backend = await backends.open(url)
    try:
        yield [view_of(backend, namespace) for namespace in namespaces]
    finally:
        await backend.close()


def _urls(tmp_path: Path) -> tuple[str, str]:
    return "memory://", f"sqlite:///{tmp_path}/runs.db?relaxed=true"


async def _ids(view: Backend, query: RunQuery) -> set[str]:
    return {head.id for head in (await view.store.search(query)).runs}


async def _every_view(url: str) -> None:
    """Each view writes the same names in the same places, and finds nothing but what it wrote."""
    async with _views(url, *NAMESPACES) as views:
        for at, view in enumerate(views):
            body = str(at).encode()
            for name in NAMES:
                run = RunId(name)
                head = Head(id=run, workflow="w", created_at=1, wake_at=1, parent=run, queue=name, tags={"t": name})
                new = new_run("-", body)
                assert await view.store.create([type(new)(head=head, frames=new.frames)]) == [None]
                assert await view.store.reserve(name, name) == name
                assert await view.coordination.set_if_not_exist(name, str(at))
                assert await view.streams.append(name, 0, [body])
                await view.blobs.put(name, body)
                await view.queue.publish(name, [Job(body)])
        for at, view in enumerate(views):
            await _holds_its_own(view, str(at).encode(), NAMESPACES[at])


async def _holds_its_own(view: Backend, body: bytes, namespace: str) -> None:
    for name in NAMES:
        assert await bodies(view, name) == [body]
        assert await view.store.resolve(name) == name
        assert await view.coordination.get(name) == body.decode()
        assert (await view.streams.read(name, 0, 10)).items == (body,)
        assert await view.blobs.get(name) == body
        assert [item.body for item in await view.queue.receive([name], limit=9)] == [body]
        assert await _ids(view, RunQuery(tag=(("t", name),))) == {name}
        assert await _ids(view, RunQuery(parent=RunId(name))) == {name}
        taken = await view.store.take(claim_of(view, name), lease_ms=9, limit=99, serves=Serves(queues=(name,)))
        assert [(head.id, head.queue, head.parent, head.namespace) for head in taken.heads] == [
            (name, name, name, namespace)
        ]
    assert await _ids(view, RunQuery()) == set(NAMES)
    assert {due.run for due in await view.store.peek_due(2**50, 999)} == set(NAMES)


def test_the_same_names_in_several_namespaces_are_different_things(tmp_path: Path) -> None:
    for url in _urls(tmp_path):
        asyncio.run(_every_view(url))


def test_what_is_deleted_in_one_namespace_stays_in_the_others(tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        async with _views(url, "", "acme", "acme-2") as views:
            for view in views:
                await settled_run(view, "r")
                await view.store.reserve("name", "r")
                await view.blobs.put("r/1", b"1")
                await view.streams.append("r/s", 0, [b"1"])
            for gone in (1, 0):
                view = views.pop(gone)
                assert await view.store.delete([RunId("r")]) == [True]
                await view.blobs.delete("r/")
                await view.streams.delete("r/")
                assert await view.store.load([Wanted(RunId("r"))]) == [None]
                for other in views:
                    assert len(await bodies(other)) == 2
                    assert await other.store.resolve("name") == "r"
                    assert await other.blobs.get("r/1") == b"1"
                    assert (await other.streams.read("r/s", 0, 1)).next == 1

    for url in _urls(tmp_path):
        asyncio.run(scenario(url))


def test_ids_that_name_another_namespace_lead_nowhere(tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        async with _views(url, "", "acme", "acme-2") as (default, acme, other):
            await created(acme, new_run("r"))
            await acme.store.reserve("token", "r")
            await acme.blobs.put("r/1", b"1")
            for view in (default, other):
                for run in ("acme r", " acme r", "r"):
                    assert await view.store.load([Wanted(RunId(run), -1)]) == [None]
                    assert (await view.store.deliver([message(run=run)]))[0].answer == "missing"
                    assert await view.store.delete([RunId(run)]) == [True]
                    assert await view.blobs.get(f"{run}/1") is None
                assert await view.store.resolve("acme token") is None
                for queues in (("default",), ("acme default",)):
                    taken = await view.store.take(
                        claim_of(view, 1), lease_ms=9, limit=9, serves=Serves(queues=queues), runs=[RunId("acme r")]
                    )
                    assert taken.heads == ()
                assert await _ids(view, RunQuery(namespace="acme")) == set()
                assert await _ids(acme, RunQuery(namespace="")) == set()
                assert await _ids(view, RunQuery(text="r")) == set()
            assert await bodies(acme, "r") == [b'"created"']

    for url in _urls(tmp_path):
        asyncio.run(scenario(url))


@run_async
async def test_notices_are_heard_in_their_namespace_only() -> None:
    async with _views("memory://", "", "acme") as (default, acme):
        heard = default.queue.listen("runs"), default.queue.listen("acme runs")
        listener = acme.queue.listen("runs")
        waiting = [asyncio.ensure_future(anext(item)) for item in heard]
        await acme.queue.notify(["runs"])
        async with asyncio.timeout(5):
            await anext(listener)
        assert not any(item.done() for item in waiting)
        await default.queue.notify(["runs", "acme runs"])
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)


@run_async
async def test_the_next_due_run_of_a_namespace_is_found_behind_those_of_others() -> None:
    async with _views("memory://", "", "acme") as (default, acme):
        await created(default, *[new_run(f"r{k}") for k in range(300)])
        await created(acme, new_run("late", wake_at=5))
        assert [due.run for due in await acme.store.peek_due(10, 1)] == ["late"]
        assert [due.run for due in await acme.store.peek_due(4, 1)] == []


@run_async
async def test_the_default_namespace_deletes_by_no_prefix_that_others_may_have() -> None:
    async with _views("memory://", "", "acme") as (default, acme):
        await acme.blobs.put("r/1", b"1")
        await default.blobs.put("acme x/1", b"1")
        for prefix in ("", "a", "acme"):
            with pytest.raises(DefinitionError, match="end it with '/'"):
                await default.blobs.delete(prefix)
        await default.blobs.delete("acme r/")
        await default.blobs.delete("acme x/")
        assert await acme.blobs.get("r/1") == b"1"
        assert await default.blobs.get("acme x/1") is None


@pytest.mark.parametrize("name", ["A", "a b", "-a", "a/b", "a_b", "ä", "a" * 64, "blueprints", 7, None])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    async def scenario() -> None:
        async with _views("memory://", ""):
            with pytest.raises(DefinitionError, match=r"namespace .*: (give 1 to 63 characters|this name is taken)"):
                view_of(await backends.open("memory://"), name)

    asyncio.run(scenario())


@run_async
async def test_names_of_a_database_from_before_are_still_found(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.executescript(migrations()[0])
    connection.execute("pragma user_version = 1")
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    for name in NAMES:
        connection.execute(
            "insert into runs (id, workflow, version, status, queue, priority, created_at, wake_at, mail, takes, seq, "
            "base, error) values (?1, 'w', '', 'queued', ?2, 0, 1, 1, 0, 0, 1, 1, '')",
            (f"r{NAMES.index(name)}", name),
        )
        connection.execute("insert into names values (?, 'r0')", (name,))
        connection.execute("insert into blobs values (?, x'31')", (f"blueprints of all runs/{name}",))
    connection.commit()
    connection.close()

    backend = await open_sqlite(path)
    view = view_of(backend, "")
    for at, name in enumerate(NAMES):
        assert await view.store.resolve(name) == "r0"
        assert await view.blobs.get(f"blueprints of all runs/{name}") == b"1"
        taken = await view.store.take(claim_of(view, at), lease_ms=9, limit=99, serves=Serves(queues=(name,)))
        assert [head.id for head in taken.heads] == [f"r{at}"]
    await backend.close()
