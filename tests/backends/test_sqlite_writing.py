"""What a write costs: counts, which no noise disturbs."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.backends.support import open_sqlite, run_async

from stepwell.backends.sqlite import SqliteBackend, store
from stepwell.errors import BackendError
from stepwell.model.ids import RunId
from stepwell.ports import HeadChange, Park
from stepwell.testing.contracts.running import (
    ANY,
    PAST,
    bodies,
    claim_of,
    claimed,
    created,
    frame,
    head_of,
    inbox,
    message,
    new_run,
    parked,
)

Cost = tuple[int, int]


async def _cost(backend: SqliteBackend, work: Callable[[], Awaitable[object]]) -> Cost:
    """Transactions and rows."""
    stats = backend.store.stats
    before = stats.transactions, stats.rows
    await work()
    return stats.transactions - before[0], stats.rows - before[1]


@run_async
async def test_a_plain_append_is_one_row_in_two_statements(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run())
    await backend.store.append([frame(2)])
    before = backend.store.stats.statements
    assert await _cost(backend, lambda: backend.store.append([frame(3)])) == (1, 1)
    assert backend.store.stats.statements - before == 2  # the other one asks whether runs were deleted elsewhere
    await backend.close()


@run_async
async def test_a_run_of_n_steps_by_its_creator_is_n_plus_two_rows_and_one_update(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    claim = claim_of(backend, 1)
    end = HeadChange(status="completed", wake_at=None, release=True, ended_at=PAST)

    async def run() -> None:
        await created(backend, new_run(owner=claim))
        for seq in range(2, 6):
            await backend.store.append([frame(seq)])
        await backend.store.append([frame(6, owner=claim, mail=0, head=end)])

    assert await _cost(backend, run) == (6, 5 + 2 + 1)
    await backend.close()


@run_async
async def test_a_signal_to_a_parked_run_is_one_row_and_three_updates(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run(wake_at=None))

    async def signal() -> None:
        await backend.store.deliver([message()])
        claim = await claimed(backend)
        await parked(backend, claim, mail=1)

    assert await _cost(backend, signal) == (3, 1 + 3)
    await backend.close()


@pytest.mark.parametrize("count", [10, 500])
@run_async
async def test_calls_of_one_tick_share_a_transaction(count: int, tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    runs = [f"r{k}" for k in range(count)]
    calls = [backend.store.create([new_run(run)]) for run in runs]
    assert await _cost(backend, lambda: asyncio.gather(*calls)) == (1, 2 * count)
    calls = [backend.store.append([frame(2, run=run)]) for run in runs]
    assert await _cost(backend, lambda: asyncio.gather(*calls)) == (1, count)
    await backend.close()


@run_async
async def test_calls_of_all_kinds_share_a_transaction(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run("a"), new_run("b"), new_run("c"))
    claim = await claimed(backend, run="b")
    calls = [
        backend.store.append([frame(2, run="a")]),
        backend.store.park([Park(run=RunId("b"), owner=claim, mail=0, wake_at=None)]),
        backend.store.deliver([message(run="c")]),
        backend.store.create([new_run("d")]),
        backend.store.append([frame(2, run="c")]),
        backend.coordination.increment("k"),
        backend.streams.append("s", 0, [b"x"]),
    ]
    assert (await _cost(backend, lambda: asyncio.gather(*calls)))[0] == 1
    await backend.close()


@run_async
async def test_calls_that_come_during_a_commit_share_the_next(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    runs = [f"r{k}" for k in range(100)]
    await created(backend, *[new_run(run) for run in runs])

    async def steps(run: str) -> None:
        for seq in range(2, 12):
            assert await backend.store.append([frame(seq, run=run)]) == ["ok"]

    transactions, rows = await _cost(backend, lambda: asyncio.gather(*map(steps, runs)))
    assert rows == 1000
    assert transactions <= 20
    await backend.close()


@run_async
async def test_an_item_that_cannot_be_written_hurts_no_other_call(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run("a"), new_run("b"))
    calls = [
        backend.store.append([frame(2, b"fine", run="a")]),
        backend.store.append([frame(2, "no bytes", run="b")]),  # type: ignore[arg-type]
        backend.store.deliver([message("m", run="b")]),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, BaseException) for answer in answers] == [False, True, False]
    assert isinstance(answers[1], BackendError)
    assert await bodies(backend, "a") == [b'"created"', b"fine"]
    assert (await head_of(backend, "b")).mail == 1
    await backend.close()


@run_async
async def test_a_caller_that_is_cancelled_stops_no_other(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run("a"), new_run("b"))
    first = asyncio.ensure_future(backend.store.append([frame(2, run="a")]))
    second = asyncio.ensure_future(backend.store.append([frame(2, run="b")]))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ["ok"]
    await backend.close()


@run_async
async def test_what_waits_is_written_before_closing(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    calls = [asyncio.ensure_future(backend.store.create([new_run(f"r{k}")])) for k in range(100)]
    await asyncio.sleep(0)
    await backend.close()
    assert await asyncio.gather(*calls) == [[None]] * 100


@run_async
async def test_a_long_log_is_moved_into_the_file_meanwhile(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db", relaxed=True)
    runs = [f"r{k}" for k in range(1000)]
    await created(backend, *[new_run(run) for run in runs])
    for seq in range(2, 62):
        await backend.store.append([frame(seq, run=run) for run in runs])
    assert backend.store.stats.checkpoints > 0
    assert await bodies(backend, "r999") == [b'"created"'] + [b'"x"'] * 60
    await backend.close()


@run_async
async def test_times_in_an_inbox_never_go_back(tmp_path: Path) -> None:
    times = iter([5000, 1000, 7000])

    class Clock:
        def now(self) -> int:
            return next(times)

        def monotonic(self) -> float:
            return 0.0

        def random_bytes(self, n: int) -> bytes:
            return bytes(n)

    backend = await open_sqlite(tmp_path / "a.db", clock=Clock())
    await created(backend, new_run())
    for id in "abc":
        await backend.store.deliver([message(id)])
    assert [item.accepted_at for item in await inbox(backend)] == [5000, 5000, 7000]
    await backend.close()


@run_async
async def test_a_journal_is_the_same_when_it_is_read_beside_a_busy_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    frames = [bytes([k, 0, 44, 255]) for k in range(20)]
    await created(backend, new_run("none", *frames[:4]), new_run("many", *frames))
    monkeypatch.setattr(store, "_SLOW_S", -1.0)
    assert await bodies(backend, "none") == frames[:4]
    assert await bodies(backend, "many") == frames
    await backend.close()


@run_async
async def test_a_journal_with_a_hole_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run())
    await backend.store.append([frame(3)])
    with pytest.raises(BackendError, match="run r has a hole"):
        await bodies(backend)
    await backend.close()


@run_async
async def test_an_idle_worker_writes_nothing(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    assert await _cost(backend, lambda: backend.store.take(claim_of(backend, 1), lease_ms=1, limit=9, serves=ANY)) == (
        0,
        0,
    )
    await backend.close()


def test_another_event_loop_is_told_to_open_its_own(tmp_path: Path) -> None:
    runner = asyncio.Runner()
    backend = runner.run(open_sqlite(tmp_path / "a.db"))
    with pytest.raises(BackendError, match="another event loop"):
        asyncio.run(created(backend, new_run()))
    runner.run(backend.close())
    runner.close()
