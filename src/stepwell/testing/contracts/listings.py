"""Searching, deleting, names."""

from __future__ import annotations

from msgspec import Raw

from stepwell.errors import DefinitionError
from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery
from stepwell.ports import Backend, HeadChange, Wanted
from stepwell.testing.contracts.running import (
    Contract,
    bodies,
    claimed,
    created,
    frame,
    head_of,
    inbox,
    message,
    new_run,
    on_backend,
    owned_run,
    parked,
    refused,
    settled_run,
)


async def _found(backend: Backend, query: RunQuery) -> list[str]:
    """The ids of all pages. A page may be short, so only the cursor says whether it was the last."""
    ids: list[str] = []
    while True:
        page = await backend.store.search(query)
        ids += [head.id for head in page.runs]
        assert len(page.runs) <= query.limit
        if page.cursor is None:
            return ids
        query = RunQuery(**{name: getattr(query, name) for name in query.__struct_fields__} | {"cursor": page.cursor})


class SearchContract(Contract):
    """`search`."""

    @on_backend
    async def test_runs_are_listed_newest_first(self, backend: Backend) -> None:
        for at, run in enumerate(("b", "a", "c"), 1):
            await created(backend, new_run(run, created_at=at))
        assert await _found(backend, RunQuery()) == ["c", "a", "b"]

    @on_backend
    async def test_each_condition_selects(self, backend: Backend) -> None:
        await created(backend, new_run("one", workflow="v", created_at=10, tags={"t": "1", "u": "2"}))
        await created(backend, new_run("two", status="waiting", created_at=20, parent=RunId("one")))
        await created(backend, new_run("three", created_at=30, tags={"t": "2"}, metadata={"m": Raw(b'{"a":1}')}))
        await created(backend, new_run("four", status="failed", created_at=40, ended_at=45))
        cases = [
            (RunQuery(workflow="v"), ["one"]),
            (RunQuery(status=("waiting", "failed")), ["four", "two"]),
            (RunQuery(tag=(("t", "1"), ("u", "2"))), ["one"]),
            (RunQuery(tag=(("t", "1"), ("u", "1"))), []),
            (RunQuery(metadata=(("m", Raw(b'{"a":1}')),)), ["three"]),
            (RunQuery(metadata=(("m", Raw(b'{"a":2}')),)), []),
            (RunQuery(parent=RunId("one")), ["two"]),
            (RunQuery(since=20, until=40), ["three", "two"]),
            (RunQuery(ended_before=46), ["four"]),
            (RunQuery(ended_before=45), []),
            (RunQuery(text="o"), ["four", "two", "one"]),
            (RunQuery(text="O"), []),
            (RunQuery(status=("queued",), text="t", since=1), ["three"]),
        ]
        for query, ids in cases:
            assert await _found(backend, query) == ids, query

    @on_backend
    async def test_a_run_is_found_by_the_tags_it_has_now(self, backend: Backend) -> None:
        await created(backend, new_run(tags={"t": "old", "u": "same"}))
        claim = await claimed(backend)
        change = HeadChange(tags={"t": "new", "u": "same"})
        await backend.store.append([frame(2, owner=claim, head=change)])
        assert await _found(backend, RunQuery(tag=(("t", "old"),))) == []
        assert await _found(backend, RunQuery(tag=(("t", "new"), ("u", "same")))) == ["r"]

    @on_backend
    async def test_pages_are_stable_while_runs_are_added(self, backend: Backend) -> None:
        for k in range(5):
            await created(backend, new_run(f"r{k}", created_at=k + 1))
        first = await backend.store.search(RunQuery(limit=2))
        assert [head.id for head in first.runs] == ["r4", "r3"]
        await created(backend, new_run("r5", created_at=6))
        assert await _found(backend, RunQuery(limit=2, cursor=first.cursor)) == ["r2", "r1", "r0"]

    @on_backend
    async def test_a_full_last_page_says_that_it_is_the_last(self, backend: Backend) -> None:
        await created(backend, new_run("a"), new_run("b"))
        assert (await backend.store.search(RunQuery(limit=2))).cursor is None

    @on_backend
    async def test_a_strange_cursor_or_limit_is_refused(self, backend: Backend) -> None:
        await refused(backend.store.search(RunQuery(cursor="not ours")), DefinitionError)
        await refused(backend.store.search(RunQuery(cursor="-1")), DefinitionError)
        await refused(backend.store.search(RunQuery(limit=0)), DefinitionError)
        await refused(backend.store.search(RunQuery(limit=1001)), DefinitionError)


class NamespacesContract(Contract):
    """`Head.namespace` and `RunQuery.namespace`. A view of one namespace leaves this out."""

    @on_backend
    async def test_a_run_keeps_its_namespace(self, backend: Backend) -> None:
        await created(backend, new_run("a r", namespace="a"), new_run("r"))
        for run, namespace in (("a r", "a"), ("r", "")):
            claim = await claimed(backend, run, run)
            await backend.store.append([frame(2, run=run, owner=claim, head=HeadChange(status="waiting"))])
            assert await parked(backend, claim, run) == "ok"
            assert (await head_of(backend, run)).namespace == namespace

    @on_backend
    async def test_the_runs_of_one_namespace_are_listed_or_those_of_all(self, backend: Backend) -> None:
        for run in ("a 1", "2", "ab 3", "a 4", "5"):
            await created(backend, new_run(run, namespace=run.partition(" ")[0] if " " in run else "", tags={"t": "1"}))
        cases = [
            (RunQuery(namespace="a"), ["a 4", "a 1"]),
            (RunQuery(namespace=""), ["5", "2"]),
            (RunQuery(namespace="b"), []),
            (RunQuery(), ["5", "a 4", "ab 3", "2", "a 1"]),
            (RunQuery(namespace="a", limit=1), ["a 4", "a 1"]),
            (RunQuery(namespace="ab", status=("queued",), tag=(("t", "1"),), workflow="w"), ["ab 3"]),
        ]
        for query, ids in cases:
            assert await _found(backend, query) == ids, query

    @on_backend
    async def test_text_is_not_looked_for_in_the_name_of_the_namespace(self, backend: Backend) -> None:
        await created(backend, new_run("acme one", namespace="acme"), new_run("acme"), new_run("a me", namespace="a"))
        for text, ids in (("acme", ["acme"]), ("me", ["a me", "acme"]), ("e o", []), ("one", ["acme one"])):
            assert await _found(backend, RunQuery(text=text)) == ids, text


class DeleteContract(Contract):
    """`delete`."""

    @on_backend
    async def test_only_settled_runs_are_deleted(self, backend: Backend) -> None:
        await created(backend, new_run("queued"), new_run("owing", status="failed"))
        await owned_run(backend, "running")
        sleeping = await owned_run(backend, "sleeping")
        await parked(backend, sleeping, "sleeping")
        await settled_run(backend, "settled")
        ids = ["queued", "owing", "running", "sleeping", "settled", "absent"]
        assert await backend.store.delete([RunId(id) for id in ids]) == [False, False, False, False, True, True]
        found = await backend.store.load([Wanted(RunId(id)) for id in ids])
        assert [item is not None for item in found] == [True, True, True, True, False, False]

    @on_backend
    async def test_a_deleted_run_leaves_nothing_to_a_new_one_of_its_id(self, backend: Backend) -> None:
        await created(backend, new_run("r", b"1", b"2", b"3", tags={"t": "1"}))
        await backend.store.deliver([message()])
        claim = await claimed(backend)
        end = HeadChange(status="failed", wake_at=None, release=True, ended_at=1)
        await backend.store.append([frame(4, owner=claim, mail=1, head=end)])
        await backend.store.reserve("name", "r")
        assert await backend.store.delete([RunId("r")]) == [True]
        assert await backend.store.append([frame(5)]) == ["missing"]
        assert await backend.store.resolve("name") is None
        assert await _found(backend, RunQuery(tag=(("t", "1"),))) == []
        await created(backend, new_run("r", b"new"))
        assert await bodies(backend) == [b"new"]
        assert await inbox(backend) == ()
        assert (await backend.store.deliver([message()]))[0].answer == "ok"

    @on_backend
    async def test_deleting_one_run_leaves_its_neighbours(self, backend: Backend) -> None:
        for run in ("a", "b", "c"):
            await settled_run(backend, run)
        assert await backend.store.delete([RunId("b")]) == [True]
        assert [await bodies(backend, run) for run in ("a", "c")] == [[b'"created"', b'"end"']] * 2
        assert await _found(backend, RunQuery()) == ["c", "a"]


class NamesContract(Contract):
    """`reserve`, `resolve`, `release`."""

    @on_backend
    async def test_the_first_holder_of_a_name_keeps_it(self, backend: Backend) -> None:
        store = backend.store
        assert await store.reserve("n", "one") == "one"
        assert await store.reserve("n", "two") == "one"
        assert await store.reserve("n", "one") == "one"
        assert await store.resolve("n") == "one"
        assert await store.resolve("other") is None

    @on_backend
    async def test_only_its_holder_frees_a_name(self, backend: Backend) -> None:
        store = backend.store
        await store.reserve("n", "one")
        await store.release("n", "two")
        assert await store.resolve("n") == "one"
        await store.release("n", "one")
        await store.release("n", "one")
        assert await store.resolve("n") is None

    @on_backend
    async def test_a_name_that_a_dead_run_left_can_be_freed_for_it(self, backend: Backend) -> None:
        store = backend.store
        await settled_run(backend, "dead")
        await store.reserve("n", "dead")
        assert await store.reserve("n", "new") == "dead"
        await store.release("n", "dead")
        assert await store.reserve("n", "new") == "new"
        await store.release("n", "dead")
        assert await store.resolve("n") == "new"
