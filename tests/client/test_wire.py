"""How a client reaches its server: what it repeats, what it gives up, and what each answer means."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Raw

from stepwell import RunQuery, WorkflowRef
from stepwell.authoring.messages import Event, Signal, Stream
from stepwell.client import Client, SyncClient
from stepwell.errors import (
    AccessError,
    BackendError,
    CodecError,
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunNotFoundError,
    StepwellError,
)
from tests.client.support import KEY, URL, Reply, Script, feed, play, problem, reply

HEAD = {"id": "one", "workflow": "w", "status": "waiting", "created_at": 1, "queue": "default", "priority": 0}
SHOP = WorkflowRef[int, int]("shop", input=int, output=int)
PAID = Event("paid", int)
WORDS = Stream("words", str)
UNREACHABLE = httpx.ConnectError("refused")
CUT = httpx.ReadError("reset")


async def ask(script: Script, call: Any, **options: Any) -> Any:
    async with Client(URL, key=KEY, transport=script.transport, **options) as app:
        return await call(app)


async def get(app: Client) -> Any:
    return await app.runs.get("one")


async def start(app: Client) -> Any:
    return await app.start(SHOP, 7)


async def publish(app: Client) -> Any:
    return await app.publish(PAID, 7)


# --- repeating


@pytest.mark.parametrize(
    "first",
    [UNREACHABLE, CUT, httpx.ReadTimeout("late"), reply(status=502), reply(status=504), problem(503, "timeout")],
    ids=["unreachable", "cut", "late", "502", "504", "503"],
)
def test_what_is_idempotent_is_asked_again_when_no_answer_comes(first: Reply) -> None:
    script = Script(first, reply(HEAD))

    assert play(ask(script, get)).id == "one"
    assert len(script.requests) == 2


def test_a_start_is_repeated_under_the_same_id() -> None:
    script = Script(CUT, problem(503, "draining"), reply({"id": "x"}, 202))

    play(ask(script, start))

    ids = {body["runId"] for body in script.bodies()}
    assert len(script.requests) == 3
    assert len(ids) == 1


def test_two_starts_have_different_ids() -> None:
    script = Script(reply({"id": "x"}, 202), reply({"id": "y"}, 202))

    async def both(app: Client) -> None:
        await start(app)
        await start(app)

    play(ask(script, both))

    assert len({body["runId"] for body in script.bodies()}) == 2


def test_many_starts_are_sent_in_portions() -> None:
    done = [reply({"results": [], "cursor": None}) for _ in range(3)]
    script = Script(*done)

    async def test(app: Client) -> None:
        await app.start_many(WorkflowRef[str, int]("long", input=str, output=int), ["x" * 200_000] * 5)

    play(ask(script, test))

    assert [len(body["starts"]) for body in script.bodies()] == [2, 2, 1]


def test_an_error_of_one_of_many_starts_is_raised() -> None:
    result = {"run": "one", "ok": False, "code": "conflict", "error": "run one exists"}

    with pytest.raises(RunConflictError, match="run one exists"):
        play(ask(Script(reply({"results": [result]})), lambda app: app.start_many(SHOP, [1])))


def test_a_filter_that_finds_many_runs_is_gone_through() -> None:
    pages = [reply({"results": [{"run": f"r{n}", "ok": True}], "cursor": c}) for n, c in enumerate(["next", None])]
    script = Script(*pages)

    async def test(app: Client) -> list[str]:
        return [item.run for item in await app.runs.cancel(RunQuery(workflow="w"))]

    assert play(ask(script, test)) == ["r0", "r1"]
    assert [body.get("cursor") for body in script.bodies()] == [None, "next"]


def test_a_signal_is_repeated_under_the_same_id() -> None:
    script = Script(CUT, reply({"run": "one"}, 202))

    play(ask(script, lambda app: app.handle("one").send(Signal("go", int), 1)))

    assert len({body["request_id"] for body in script.bodies()}) == 1


@pytest.mark.parametrize("first", [CUT, problem(503, "timeout"), reply(status=502)], ids=["cut", "503", "502"])
def test_what_is_not_idempotent_is_not_repeated_in_doubt(first: Reply) -> None:
    script = Script(first)

    with pytest.raises(BackendError):
        play(ask(script, publish))
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "first", [UNREACHABLE, problem(503, "draining"), problem(429, "too_many")], ids=["unreachable", "draining", "429"]
)
def test_what_is_not_idempotent_is_repeated_when_nothing_was_done(first: Reply) -> None:
    script = Script(first, reply({"event": "paid", "waiting": 2}))

    assert play(ask(script, publish)) == 2


def test_a_start_that_must_be_the_first_is_not_repeated_in_doubt() -> None:
    script = Script(CUT)

    with pytest.raises(BackendError, match="it may have been done"):
        play(ask(script, lambda app: app.start(SHOP, 7, id="one", on_conflict="fail")))


def test_a_server_that_asks_for_time_gets_it() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await ask(Script(problem(429, "too_many", retry_after="7"), reply(HEAD)), get)
        assert loop.time() - begun >= 7

    play(test())


def test_patience_ends() -> None:
    script = Script(*[UNREACHABLE] * 1000)

    with pytest.raises(BackendError, match=r"https://flows\.test does not answer GET /api/runs/one/head"):
        play(ask(script, get, patience="10s"))
    assert 5 < len(script.requests) < 30


def test_a_server_that_asks_for_more_time_than_there_is_is_given_up() -> None:
    script = Script(problem(429, "too_many", retry_after="3600"))

    with pytest.raises(BackendError):
        play(ask(script, get))


def test_a_certificate_that_is_not_trusted_is_final_and_says_the_cure() -> None:
    error = httpx.ConnectError("handshake failed")
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")

    with pytest.raises(BackendError, match="SSL_CERT_FILE") as raised:
        play(ask(Script(error), get))
    assert raised.value.is_final


# --- errors


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(404, "not_found", "there is no run one"), RunNotFoundError),
        (problem(409, "already_ended"), RunClosedError),
        (problem(409, "conflict"), RunConflictError),
        (problem(409, "run_exists"), RunConflictError),
        (problem(404, "no_such_hook"), HookError),
        (problem(400, "invalid_value"), CodecError),
        (problem(400, "invalid_request"), DefinitionError),
        (problem(413, "body_too_large"), DefinitionError),
        (problem(401, "unauthorized"), AccessError),
        (problem(403, "forbidden"), AccessError),
        (problem(500, "internal_error"), BackendError),
        (reply({"error": "not_found", "message": "no run stored in this DO"}, 404), RunNotFoundError),
        (httpx.Response(500, text="<html>oops</html>"), BackendError),
        (httpx.Response(404, text="<html>nginx</html>"), DefinitionError),
    ],
)
def test_a_problem_is_the_exception_that_it_is_in_process(answer: Reply, kind: type[StepwellError]) -> None:
    with pytest.raises(StepwellError) as raised:
        play(ask(Script(answer), get))
    assert type(raised.value) is kind


def test_the_words_of_a_problem_are_kept() -> None:
    with pytest.raises(RunNotFoundError, match=r"^there is no run one in memory://$"):
        play(ask(Script(problem(404, "not_found", "there is no run one in memory://")), get))


def test_the_request_can_be_found_in_the_log_of_the_server() -> None:
    with pytest.raises(RunNotFoundError) as raised:
        play(ask(Script(problem(404, "not_found", x_request_id="ab-1")), get))
    assert raised.value.__notes__ == ["in the log of the server this is request ab-1"]


def test_a_key_that_may_not_is_told_the_cure() -> None:
    text = "this needs the scope 'admin'"

    with pytest.raises(AccessError, match="this needs the scope 'admin'; use a key with that scope"):
        play(ask(Script(problem(403, "forbidden", text)), get))


def test_an_answer_of_another_kind_is_refused_as_such() -> None:
    with pytest.raises(BackendError, match="something else than this client knows"):
        play(ask(Script(reply({"id": 7})), get))


# --- event streams


def chunk(index: int, value: str, **more: Any) -> str:
    data = {"index": index, "value": value, "source": "", "attempt": 1, "restarts": False, **more}
    return f"id: {index}\nevent: chunk\ndata: {msgspec.json.encode(data).decode()}"


END = "event: end\ndata: {}"


async def words(app: Client) -> list[str]:
    return [word async for word in app.handle("one").stream(WORDS)]


def test_a_stream_that_breaks_off_goes_on_after_its_last_chunk() -> None:
    script = Script(feed(chunk(0, "a"), chunk(1, "b"), error=CUT), UNREACHABLE, feed(chunk(2, "c"), END))

    assert play(ask(script, words)) == ["a", "b", "c"]
    assert [request.headers.get("last-event-id") for request in script.requests] == [None, "1", "1"]


def test_a_stream_that_a_server_ends_early_is_asked_for_again() -> None:
    script = Script(feed(chunk(0, "a")), feed(), feed(chunk(1, "b"), END))

    assert play(ask(script, words)) == ["a", "b"]


def test_a_chunk_that_comes_twice_counts_once() -> None:
    script = Script(feed(chunk(0, "a"), chunk(1, "b"), error=CUT), feed(chunk(1, "b"), chunk(2, "c"), END))

    assert play(ask(script, words)) == ["a", "b", "c"]


def test_an_attempt_that_begins_anew_is_marked_over_a_break_too() -> None:
    first = feed(chunk(0, "a", source="s"), error=CUT)
    again = chunk(1, "a", source="s", attempt=2, restarts=True)
    other = chunk(3, "b", source="t", restarts=True)
    second = feed(again, chunk(2, "b", source="s", attempt=2), other, END)

    async def marks(app: Client) -> list[bool]:
        return [item.restarts async for item in app.handle("one").stream_chunks(WORDS)]

    assert play(ask(Script(first, second), marks)) == [False, True, False, False]


def test_a_wait_outlasts_a_restart_and_gives_up_in_the_end() -> None:
    script = Script(feed(chunk(0, "a"), error=CUT), *[UNREACHABLE] * 10_000)

    async def test(app: Client) -> None:
        with pytest.raises(BackendError):
            await words(app)

    play(ask(script, test, patience="1s", reconnect="5m"))

    assert len(script.requests) > 50


def test_a_stream_of_a_run_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(RunNotFoundError):
        play(ask(Script(problem(404, "not_found")), words))


def test_leaving_a_stream_closes_its_connection() -> None:
    response = feed(chunk(0, "a"), chunk(1, "b"), END)

    async def first(app: Client) -> str:
        words = app.handle("one").stream(WORDS)
        word = await anext(words)
        await words.aclose()  # type: ignore[attr-defined]
        return word

    assert play(ask(Script(response), first)) == "a"
    assert response.is_closed


def test_a_page_that_is_no_event_stream_is_refused() -> None:
    with pytest.raises(BackendError, match="no event stream"):
        play(ask(Script(reply({})), words))


# --- results


def test_a_result_is_asked_for_until_it_is_there() -> None:
    script = Script(reply({"status": "running"}, 202), CUT, reply({"status": "completed", "value": 8}))

    assert play(ask(script, lambda app: app.handle("one", SHOP).result())) == 8


def test_a_timeout_counts_over_all_requests() -> None:
    script = Script(*[reply({"status": "running"}, 202)] * 1000)

    with pytest.raises(TimeoutError, match="run one has not ended within 10 s; it goes on"):
        play(ask(script, lambda app: app.handle("one").result(timeout="10s")))


def test_a_timeout_holds_for_a_server_that_is_gone() -> None:
    script = Script(reply({"status": "running"}, 202), *[UNREACHABLE] * 1000)

    with pytest.raises(TimeoutError, match="the server does not answer"):
        play(ask(script, lambda app: app.handle("one").result(timeout="10s")))


def test_a_value_that_looks_like_a_mark_of_ours_is_a_value() -> None:
    value = {"$raw": {"$blob": "x"}}

    assert (
        play(ask(Script(reply({"status": "completed", "value": value})), lambda app: app.handle("one").result()))
        == value
    )


def test_a_value_that_looks_like_a_mark_of_ours_is_sent_as_it_is() -> None:
    script = Script(reply({"run": "one"}, 202))

    play(ask(script, lambda app: app.handle("one").send(Signal("go"), {"$raw": 1})))

    assert script.bodies()[0]["payload"] == {"$raw": 1}


# --- the twin


def test_the_twin_repeats_and_goes_on_as_well() -> None:
    script = Script(CUT, reply(HEAD), feed(chunk(0, "a"), error=CUT), feed(chunk(1, "b"), END))

    with SyncClient(URL, key=KEY, transport=script.transport) as s:
        assert s.runs.get("one").id == "one"
        assert list(s.handle("one").stream(WORDS)) == ["a", "b"]


def test_an_app_makes_its_twin() -> None:
    with Client(URL, key=KEY).sync() as s:
        assert repr(s) == f"SyncClient({URL!r})"
    with pytest.raises(DefinitionError, match="SyncClient"):
        Client(URL, transport=Script().transport).sync()


def test_metadata_is_plain_json_on_the_way() -> None:
    script = Script(reply({"runs": [{**HEAD, "metadata": {"k": {"$x": 1}}}], "cursor": None}))

    async def test(app: Client) -> None:
        page = await app.runs.list(metadata={"k": "a"}, tag={"a": "b:c"}, status=("failed", "dead"))
        assert page.runs[0].metadata == {"k": Raw(b'{"$raw":{"$x":1}}')}

    play(ask(script, test))

    assert script.requests[0].url.params.multi_items() == [
        ("limit", "100"),
        ("status", "failed"),
        ("status", "dead"),
        ("tag", "a:b:c"),
        ("metadata", 'k:"a"'),
    ]
