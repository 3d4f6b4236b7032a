"""Listing runs of an SQLite file: right whatever is asked, and without looking at all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest
from msgspec import Raw
from msgspec.structs import replace
from tests.backends.support import open_sqlite, run_async

from stepwell import backends
from stepwell.backends.sqlite import search
from stepwell.model.ids import RunId
from stepwell.model.runs import STATUSES, TERMINAL, Head, RunQuery
from stepwell.ports import Append, Backend, HeadChange, NewRun, Serves
from stepwell.testing.contracts.running import claim_of, new_run

NAMESPACES = ("", "a", "ab")
WORKFLOWS = ("v", "w", "seldom")
TAGS = {"k": ("1", "2", "3"), "l": ("1",)}


def _run(rng: Random, at: int) -> NewRun:
    """Runs are created in order of time, but for some."""
    namespace = rng.choices(NAMESPACES, (6, 3, 1))[0]
    status = rng.choices(STATUSES, (5, 5, 20, 1, 50, 10, 3, 1, 1))[0]
    created_at = max(1, at * 10 + rng.randrange(-50, 50)) if rng.random() < 0.99 else rng.randrange(1, 30_000)
    prefix = f"{namespace} " if namespace else ""
    return new_run(
        f"{prefix}{rng.choice('pqr')}{at}",
        namespace=namespace,
        workflow=rng.choices(WORKFLOWS, (60, 39, 1))[0],
        status=status,
        created_at=created_at,
        ended_at=created_at + rng.randrange(200) if status in TERMINAL else None,
        wake_at=1 if status == "queued" else None,
        parent=RunId(f"{prefix}p{rng.randrange(at + 1)}") if rng.random() < 0.2 else None,
        tags={key: rng.choice(values) for key, values in TAGS.items() if rng.random() < 0.5},
        metadata={"m": Raw(str(rng.randrange(20)).encode()), "n": Raw(b'"m\\":1"')} if rng.random() < 0.5 else {},
    )


async def _end_some(backend: Backend, seed: int) -> None:
    """Runs that end long after their neighbours were created, or change their tags, or go."""
    rng = Random(seed)
    claim = claim_of(backend, 1)
    taken = await backend.store.take(claim, lease_ms=1000, limit=200, serves=Serves())
    heads = sorted(taken.heads, key=lambda head: head.id)
    frames = []
    for head in heads:
        change = HeadChange(status="completed", ended_at=rng.randrange(head.created_at, 40_000), release=True)
        change = replace(change, wake_at=None, tags={"k": "2"} if rng.random() < 0.5 else {})
        frames.append(Append(run=head.id, seq=2, body=b"e", owner=claim, mail=0, head=change))
    assert set(await backend.store.append(frames)) <= {"ok"}
    await backend.store.delete([head.id for head in heads[::3]])


def _query(rng: Random) -> RunQuery:
    fields: dict[str, object] = {
        "namespace": rng.choice((*NAMESPACES, "none", None)),
        "workflow": rng.choice((*WORKFLOWS, "none")),
        "status": tuple(rng.choices(STATUSES, k=rng.randrange(1, 4))),
        "tag": tuple(
            rng.choices([(key, value) for key, values in TAGS.items() for value in values], k=rng.choice((1, 2)))
        ),
        "metadata": (("m", Raw(str(rng.randrange(21)).encode())),),
        "parent": RunId(f"p{rng.randrange(100)}"),
        "since": rng.randrange(30_000),
        "until": rng.randrange(30_000),
        "ended_before": rng.randrange(40_000),
        "text": rng.choice(("p", "7", "p1", "a ", "99", "zz")),
    }
    kept = {name: value for name, value in fields.items() if rng.random() < (0.8 if name == "namespace" else 0.2)}
    return RunQuery(limit=rng.choice((3, 30, 1000)), **kept)  # type: ignore[arg-type]


async def _all(backend: Backend, query: RunQuery) -> list[Head]:
    heads: list[Head] = []
    for _ in range(10_000):
        page = await backend.store.search(query)
        assert len(page.runs) <= query.limit
        heads += page.runs
        if page.cursor is None:
            return heads
        query = replace(query, cursor=page.cursor)
    raise AssertionError(f"the cursor does not come to an end: {query}")


@pytest.mark.parametrize("looks", [(20, 3), (500, 100), (20_000, 1000)])
def test_whatever_is_asked_the_answer_is_that_of_the_reference(
    looks: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_LOOKS_MAX", looks[0])
    monkeypatch.setattr(search, "_LOOKS_FIRST", looks[1])
    monkeypatch.setattr(search, "_COUNT_MAX", looks[1])

    async def scenario() -> None:
        ours, reference = await open_sqlite(tmp_path / "a.db", relaxed=True), await backends.open("memory://")
        rng = Random(looks[0])
        runs = [_run(rng, at) for at in range(2600)]
        for backend in (ours, reference):
            for start in range(0, len(runs), 300):
                await backend.store.create(runs[start : start + 300])
            await _end_some(backend, looks[1])
        for _ in range(150):
            query = _query(rng)
            found, expected = [
                [replace(head, owner=None, wake_at=None) for head in await _all(backend, asked)]
                for backend, asked in ((ours, query), (reference, replace(query, limit=1000)))
            ]
            assert found == expected, query
        await ours.close()

    asyncio.run(scenario())


RARE = {
    "a status": RunQuery(status=("dead", "failed")),
    "a workflow": RunQuery(workflow="seldom"),
    "a workflow and a status": RunQuery(workflow="w", status=("failed",)),
    "a tag": RunQuery(tag=(("rare", "1"),)),
    "a tag that many have and one that few have": RunQuery(tag=(("k", "1"), ("rare", "1"))),
    "a tag that many have, and a status": RunQuery(tag=(("k", "1"),), status=("failed",)),
    "a parent": RunQuery(parent=RunId("p")),
    "a time long ago": RunQuery(until=1010),
    "some time": RunQuery(since=1500, until=1510),
    "an end long ago": RunQuery(ended_before=1011, status=("completed", "failed")),
    "text among few": RunQuery(text="r", status=("failed",)),
    "metadata among few": RunQuery(metadata=(("m", Raw(b"1")),), workflow="seldom"),
    "nothing that there is": RunQuery(workflow="none", tag=(("k", "1"),)),
}


@pytest.mark.parametrize("namespace", ["", "small"])
@pytest.mark.parametrize("name", RARE)
def test_few_runs_are_found_without_looking_at_all(
    name: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_LOOKS_MAX", 4500)  # of 8000

    async def scenario() -> None:
        backend = await open_sqlite(tmp_path / "a.db", relaxed=True)
        await backend.store.create([_plain(at, "") for at in range(4000)])
        await backend.store.create([_plain(at, "small") for at in range(5, 5000, 700)])
        page = await backend.store.search(replace(RARE[name], namespace=namespace))
        assert page.cursor is None
        is_there = name != "nothing that there is" and not (namespace and name in ("a parent", "some time"))
        assert bool(page.runs) == is_there
        await backend.close()

    asyncio.run(scenario())


def _plain(at: int, namespace: str) -> NewRun:
    is_rare = at % 700 == 5
    return new_run(
        f"{namespace} r{at}" if namespace else f"r{at}",
        namespace=namespace,
        created_at=1000 + at,
        ended_at=1001 + at,
        wake_at=None,
        status="failed" if is_rare else "completed",
        workflow="seldom" if at % 900 == 5 else "w",
        parent=RunId("p") if is_rare and not namespace else None,
        tags={"k": "1", "rare": "1"} if is_rare else {"k": "1"},
        metadata={"m": Raw(b"1")},
    )


@run_async
async def test_text_that_nobody_has_gives_short_pages_that_come_to_an_end(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db", relaxed=True)
    await backend.store.create([_plain(at, "") for at in range(3000)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_LOOKS_MAX", 1000)
        query, pages = RunQuery(text="nobody has it"), 0
        while True:
            page = await backend.store.search(query)
            assert page.runs == ()
            pages += 1
            if page.cursor is None:
                break
            query = replace(query, cursor=page.cursor)
    assert 3 <= pages <= 4
    await backend.close()
