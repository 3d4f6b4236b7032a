"""The audit log: what is in it, that nothing is lost, and that nobody can fill it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from stepwell import Stepwell
from stepwell.errors import BackendError, DefinitionError
from stepwell.server.access import Access, AuditEntry, AuditLog, Caller
from stepwell.server.access.refusals import PER_ADDRESS, PER_MINUTE, Refusals
from stepwell.testing.faults import Call, NthCall
from tests.server.access.support import DAY_MS, Place, play

TODAY, TOMORROW = "2026-01-01", "2026-01-02"  # where virtual time begins
ADA = Caller(kind="key", id="ada", namespace="acme")


async def act(access: Access, status: int = 202, *, caller: Caller = ADA, address: str = "192.0.2.1") -> None:
    await access.record(
        caller,
        action="POST /api/runs/{run}/cancel",
        path={"run": "order-7"},
        status=status,
        address=address,
        request_id="q-1",
    )


async def entries(access: Access, namespace: str = "acme", day: str = TODAY) -> tuple[AuditEntry, ...]:
    return (await access.audit.page(namespace, day, limit=20_000)).entries


def test_an_entry_says_who_did_what_to_which_run_and_when() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            await act(access)
            await asyncio.sleep(1)
            (entry,) = await entries(access)
            assert entry == AuditEntry(
                id=entry.id,
                at=place.clock.now() - 1000,
                who="key:ada",
                namespace="acme",
                action="POST /api/runs/{run}/cancel",
                object={"run": "order-7"},
                status=202,
                address="192.0.2.1",
                request_id="q-1",
            )
            assert await entries(access, "") == ()

    play(test)


def test_an_entry_is_a_line_of_json_in_the_log_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepwell.audit")

    async def test(place: Place) -> None:
        async with place.server() as access:
            await act(access)
            (line,) = [record.getMessage() for record in caplog.records if record.name == "stepwell.audit"]
            assert msgspec.json.decode(line)["who"] == "key:ada"

    play(test)


def test_tokens_in_paths_are_not_recorded() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            path = {"run": "r", "token": "hk_secret"}
            await access.record(ADA, action="POST /api/runs/{run}/tokens/{token}", path=path, status=200)
            await asyncio.sleep(1)
            (entry,) = await entries(access)
            assert entry.object == {"run": "r"}

    play(test)


def test_what_waits_is_written_at_the_close() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            for _ in range(1200):
                await act(access)
        assert len(await place.streams(f"audit log/{TODAY}/acme")) == 1200

    play(test)


def test_entries_wait_while_the_backend_is_down_and_none_is_lost_or_doubled() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            place.is_down = True
            for _ in range(10):
                await act(access)
                await asyncio.sleep(60)
            place.is_down = False
            await asyncio.sleep(10)
            found = await entries(access)
            assert len(found) == len({entry.id for entry in found}) == 10

    play(test)


@pytest.mark.parametrize("how", ["before", "after", "twice"])
def test_an_append_with_an_unclear_answer_is_one_entry(how: str) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            place.policy = NthCall(1, how, name="streams.append")  # type: ignore[arg-type, assignment]
            await act(access)
            await asyncio.sleep(5)
            assert len(await entries(access)) == 1

    play(test)


def test_two_servers_write_into_one_log() -> None:
    async def test(place: Place) -> None:
        async with place.server() as one, place.server() as other:
            await asyncio.gather(*(act(server) for server in (one, other) * 50))
            await asyncio.sleep(1)
            assert len({entry.id for entry in await entries(one)}) == 100

    play(test)


def test_a_full_log_makes_calls_wait_and_drops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.server.access.audit._ROOM", 20)

    async def test(place: Place) -> None:
        async with place.server() as access:
            place.is_down = True
            calls = [asyncio.ensure_future(act(access)) for _ in range(30)]
            await asyncio.sleep(10)
            assert sum(call.done() for call in calls) == 20
            await act(access, 401)  # does not wait
            place.is_down = False
            await asyncio.gather(*calls)
            await asyncio.sleep(10)
            assert len(await entries(access)) == 30

    play(test)


def test_a_backend_that_stays_down_does_not_hold_up_the_close(caplog: pytest.LogCaptureFixture) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            place.is_down = True
            await act(access)
        assert "could not be written, and are only here: 1" in caplog.text

    play(test)


def test_a_defect_does_not_end_the_writing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            with monkeypatch.context() as patch:
                patch.setattr(AuditLog, "_write_some", None)
                await act(access)
                await asyncio.sleep(1)
            await asyncio.sleep(5)
            assert len(await entries(access)) == 1
            assert "writing the audit log failed; it goes on" in caplog.text

    play(test)


def test_of_a_flood_of_refused_calls_ten_a_minute_are_kept_and_the_rest_is_counted() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            for _ in range(1000):
                await act(access, 401, caller=Caller.stranger())
            await act(access, 401, caller=Caller.stranger(), address="192.0.2.2")
            await asyncio.sleep(61)
            await act(access, 403, caller=Caller.stranger())
            await asyncio.sleep(1)
            *kept, count, last = reversed(await entries(access, ""))
            assert [entry.address for entry in kept] == ["192.0.2.1"] * 10 + ["192.0.2.2"]
            assert (count.who, count.action, count.count) == ("stranger", "refused calls", 990)
            assert last.status == 403

    play(test)


def test_refused_calls_that_were_counted_are_told_at_the_close() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            for _ in range(15):
                await act(access, 401, caller=Caller.stranger())
        last = msgspec.json.decode((await place.streams(f"audit log/{TODAY}/-"))[-1], type=AuditEntry)
        assert last.count == 5

    play(test)


def test_many_addresses_are_no_way_around_the_limit() -> None:
    refusals = Refusals()
    admitted = sum(refusals.admits(f"192.0.{n // 250}.{n % 250}", 0) for n in range(10_000))
    assert admitted == PER_MINUTE
    assert refusals.admits("192.0.2.1", 60_000)


def test_addresses_of_one_ipv6_network_count_together() -> None:
    refusals = Refusals()
    assert sum(refusals.admits(f"2001:db8::{n:x}", 0) for n in range(100)) == PER_ADDRESS
    assert refusals.admits("2001:db8:0:1::1", 0)


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_day_is_read_in_pages(newest_first: bool) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            for number in range(25):
                await act(access, 200 + number)
            await asyncio.sleep(1)
            seen: list[int] = []
            cursor = None
            while True:
                page = await access.audit.page("acme", TODAY, cursor=cursor, limit=10, newest_first=newest_first)
                seen += [entry.status for entry in page.entries]
                cursor = page.cursor
                if len(seen) == 10:
                    await act(access, 999)  # what comes meanwhile moves no page
                    await asyncio.sleep(1)
                if cursor is None:
                    break
            expected = list(range(200, 225))
            assert seen == (expected[::-1] if newest_first else [*expected, 999])

    play(test)


def test_each_day_has_its_log() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            await act(access, 200)
            await asyncio.sleep(DAY_MS / 1000)
            await act(access, 201)
            await asyncio.sleep(1)
            assert [entry.status for entry in await entries(access)] == [200]
            assert [entry.status for entry in await entries(access, day=TOMORROW)] == [201]

    play(test)


@pytest.mark.parametrize(
    ("day", "options", "error"),
    [
        ("yesterday", {}, "write a date such as 2026-01-31"),
        ("20260101", {}, "write a date such as"),
        ("2026-13-01", {}, "write a date such as"),
        (TODAY, {"cursor": "o3"}, "is not from a page of this order"),
        (TODAY, {"cursor": "n3", "newest_first": False}, "is not from a page of this order"),
        (TODAY, {"cursor": "n-1"}, "give the `cursor` of a page"),
        (TODAY, {"cursor": "n²"}, "give the `cursor` of a page"),
    ],
)
def test_a_wrong_day_or_cursor_is_told(day: str, options: dict[str, Any], error: str) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            with pytest.raises(DefinitionError, match=error):
                await access.audit.page("", day, **options)

    play(test)


def test_days_that_are_older_than_what_is_kept_go_and_no_others() -> None:
    async def test(place: Place) -> None:
        days = ["2027-01-31", "2027-02-01", "2027-12-31", "2028-02-29", "2028-03-01", "2028-03-02"]
        async with place.server() as access:
            for day in days:
                for namespace in ("-", "acme"):
                    await access.audit._client.backend.streams.append(f"audit log/{day}/{namespace}", 0, [b"{}"])
            await access.audit.delete_before("2028-03-01")
        left = [day for day in days if await place.streams(f"audit log/{day}/acme")]
        assert left == ["2028-03-01", "2028-03-02"]
        assert left == [day for day in days if await place.streams(f"audit log/{day}/-")]

    play(test)


def test_the_writer_deletes_once_a_day() -> None:
    async def test(place: Place) -> None:
        async with place.server(audit_keep_days=1) as access:
            await act(access)
            await asyncio.sleep(DAY_MS / 1000 + 61)
            assert await entries(access)
            await asyncio.sleep(DAY_MS / 1000)
            assert not await entries(access)

    play(test)


def test_an_audit_log_is_kept_for_a_day_at_least() -> None:
    async def test(place: Place) -> None:
        with pytest.raises(DefinitionError, match="kept for 1 day or more"):
            async with place.server(audit_keep_days=0):
                pass

    play(test)


def test_runs_of_a_namespace_that_is_called_like_it_do_not_come_near_it() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            await act(access)
            await asyncio.sleep(1)
            async with Stepwell(place.url, worker=False, clock=place.clock, namespace="audit") as other:
                assert (await other.backend.streams.read(f"log/{TODAY}/acme", 0, 10)).items == ()
                await other.backend.streams.delete("log/")
            assert len(await entries(access)) == 1

    play(test)


def test_old_entries_that_cannot_be_deleted_hold_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def test(place: Place) -> None:
        async def no_deletes(call: Call) -> Any:
            if call.name == "streams.delete":
                raise BackendError("not now")
            return await call.apply()

        async with place.server(audit_keep_days=1) as access:
            place.policy = no_deletes
            await asyncio.sleep(100)
            await act(access)
            await asyncio.sleep(100)
            assert len(await entries(access)) == 1
            assert "could not be deleted: not now; tried again later" in caplog.text

    play(test)
