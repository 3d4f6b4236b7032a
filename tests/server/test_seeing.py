"""/healthz, /readyz and /metrics, as those see them who watch over a server."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from stepwell import BackendError, Context, Stepwell, step, workflow
from stepwell.ports import Backend
from stepwell.runtime.health import HealthLimits
from stepwell.runtime.logs import JsonFormatter
from stepwell.runtime.options import WorkerOptions
from stepwell.server import Server, ServerOptions
from stepwell.server.seeing import Seeing
from stepwell.testing import VirtualClock
from stepwell.testing.faults import Call, FaultyBackend
from tests.helpers import run, until

SHORT = WorkerOptions(lease_ms=150, margin_ms=10, poll_ms=20)


@step
async def nothing() -> None: ...


@workflow
async def short(ctx: Context) -> None:
    await nothing()


class Weather:
    """A policy: calls fail while it is bad."""

    is_bad = False

    async def __call__(self, call: Call) -> Any:
        if self.is_bad:
            raise BackendError("the network is down")
        return await call.apply()


class FaultyApp(Stepwell):
    weather: Weather

    async def _open_backend(self) -> Backend:
        return FaultyBackend(await super()._open_backend(), self.weather)


class Served:
    """A server, who asks it, and the means to break it."""

    def __init__(self, app: FaultyApp, server: Server, http: AsyncClient, clock: VirtualClock) -> None:
        self.app, self.server, self.http, self.clock = app, server, http, clock

    async def ready(self) -> tuple[int, dict[str, str]]:
        """The status, and what is wrong by its name."""
        self.server.seeing._health = None  # what was said a second ago does not count here
        answer = await self.http.get("/readyz")
        checks = answer.json()["checks"]
        assert answer.json()["ok"] is (answer.status_code == 200)
        assert all(("detail" in check) is not check["ok"] and ("cure" in check) is not check["ok"] for check in checks)
        return answer.status_code, {check["name"]: check["detail"] for check in checks if not check["ok"]}

    async def metric(self, name: str, **labels: str) -> float:
        """The value of one series."""
        text = (await self.http.get("/metrics")).text
        return sum(
            sample.value
            for family in parsed(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@asynccontextmanager
async def served(*, worker: bool = True, **options: Any) -> AsyncIterator[Served]:
    clock, weather = VirtualClock(), Weather()
    app = FaultyApp("memory://", include=[short], clock=clock, worker=worker, worker_options=SHORT)
    app.weather = weather
    async with app:
        server = Server(app, ServerOptions(**{"metrics_scope": "open", **options}), worker=worker)
        await server.open()
        await server.app_of("")
        async with AsyncClient(transport=ASGITransport(server), base_url="http://test") as http:
            yield Served(app, server, http, clock)
        weather.is_bad = False


# --- health


def test_a_process_is_alive_as_long_as_its_loop_turns() -> None:
    async def go() -> tuple[Response, Response]:
        async with served() as it:
            before = await it.http.get("/healthz")
            it.app.weather.is_bad = True
            it.server.drain()
            return before, await it.http.get("/healthz")

    before, after = run(go())

    assert (before.status_code, before.json()["ok"], before.json()["draining"]) == (200, True, False)
    assert (after.status_code, after.json()["ok"], after.json()["draining"]) == (200, True, True)
    assert after.json()["uptime"] >= before.json()["uptime"] >= 0
    assert before.headers["cache-control"] == "no-store"


def test_a_server_whose_worker_works_is_ready() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            await (await it.app.start(short)).result()
            return await it.ready()

    assert run(go()) == (200, {})


def test_a_server_without_a_worker_is_ready_if_its_backend_is() -> None:
    async def go() -> list[tuple[int, dict[str, str]]]:
        async with served(worker=False) as it:
            good = await it.ready()
            it.app.weather.is_bad = True
            return [good, await it.ready()]

    assert run(go()) == [(200, {}), (503, {"backend": "the backend fails: the network is down"})]


def test_a_worker_whose_task_has_died_is_noticed() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            worker = it.app.client.worker
            assert worker is not None
            assert worker.main is not None
            worker.main.cancel()
            await asyncio.wait([worker.main])
            return await it.ready()

    assert run(go()) == (503, {"worker": "the task that takes runs has ended"})


def test_a_worker_that_stopped_by_itself_is_noticed() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            assert it.app.client.worker is not None
            await it.app.client.worker.stop()
            return await it.ready()

    status, wrong = run(go())
    assert (status, list(wrong)) == (503, ["worker"])


def test_a_backend_that_is_cut_off_is_noticed_in_the_worker_too() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            it.app.weather.is_bad = True
            it.clock.advance("2m")
            return await it.ready()

    status, wrong = run(go())
    assert (status, set(wrong)) == (503, {"backend", "keys", "polling"})


def test_an_event_loop_that_was_blocked_is_noticed() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            worker = it.app.client.worker
            assert worker is not None
            renewer = worker.renewer

            def look() -> None:
                while renewer._asked_at is None:
                    pass  # the renewer has not asked the loop to move yet
                it.clock.advance("20s")

            meanwhile = threading.Thread(target=look)
            meanwhile.start()
            meanwhile.join(10)  # the loop stands still
            await until(lambda: _of(renewer.block))
            return await it.ready()

    status, wrong = run(go())
    assert (status, wrong["loop"]) == (503, "the event loop did not move for 20 s, 0 s ago")


async def _of(value: object) -> object:
    return value


def test_a_run_that_nobody_takes_is_noticed() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            worker = it.app.client.worker
            assert worker is not None
            assert worker.main is not None
            worker.main.cancel()
            await asyncio.wait([worker.main])
            it.app.client.worker = None
            await it.app.start(short, id="r1")
            it.app.client.worker = worker
            it.clock.advance("90s")
            return await it.ready()

    status, wrong = run(go())
    assert status == 503
    assert wrong["due runs"].startswith("run r1 has been due for 90 s")


def test_a_server_that_drains_is_not_ready() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served() as it:
            it.server.drain()
            return await it.ready()

    assert run(go()) == (503, {"draining": "this process is stopping"})


def test_the_worker_of_each_namespace_counts() -> None:
    async def go() -> tuple[int, dict[str, str]]:
        async with served(namespaces=("acme",)) as it:
            app = await it.server.app_of("acme")
            assert app.client.worker is not None
            assert app.client.worker.main is not None
            app.client.worker.main.cancel()
            await asyncio.wait([app.client.worker.main])
            return await it.ready()

    assert run(go()) == (503, {"worker": "the task that takes runs of namespace acme has ended"})


def test_many_who_ask_at_a_time_are_one_question_to_the_backend() -> None:
    asked: list[str] = []

    class Counting(Weather):
        async def __call__(self, call: Call) -> Any:
            asked.append(call.name)
            return await super().__call__(call)

    async def go() -> set[int]:
        async with served(worker=False) as it:
            it.app.weather.__class__ = Counting
            asked.clear()
            answers = await asyncio.gather(*(it.http.get("/readyz") for _ in range(50)))
            return {answer.status_code for answer in answers}

    assert run(go()) == {200}
    assert asked.count("store.peek_due") == 1


def test_a_backend_that_never_answers_is_given_up_in_time() -> None:
    class Hanging(Weather):
        async def __call__(self, call: Call) -> Any:
            if call.name == "store.peek_due":
                await asyncio.Event().wait()
            return await super().__call__(call)

    async def go() -> tuple[int, dict[str, str]]:
        async with served(worker=False) as it:
            it.server.seeing.limits = HealthLimits(probe=0.01)
            it.app.weather.__class__ = Hanging
            return await it.ready()

    assert run(go()) == (503, {"backend": "the backend has not answered within 0.01 s"})


# --- metrics


def test_metrics_count_what_the_worker_and_the_server_did() -> None:
    async def go() -> dict[str, float]:
        async with served() as it:
            await (await it.app.start(short)).result()
            await it.http.get("/healthz")
            await it.http.get("/nowhere")
            return {
                "ended": await it.metric("stepwell_runs_ended_total", workflow="short", status="completed"),
                "steps": await it.metric("stepwell_step_attempts_total", step="nothing", outcome="completed"),
                "took": await it.metric("stepwell_step_duration_seconds_count", step="nothing"),
                "late": await it.metric("stepwell_schedule_latency_seconds_count", cause="start"),
                "health": await it.metric("stepwell_http_requests_total", route="/healthz", status="200"),
                "nowhere": await it.metric("stepwell_http_requests_total", route="", method="other", status="404"),
                "workers": await it.metric("stepwell_workers"),
                "free": await it.metric("stepwell_places_free"),
                "held": await it.metric("stepwell_runs_held"),
            }

    assert run(go()) == {
        **dict.fromkeys(("ended", "steps", "took", "late", "health", "nowhere", "workers"), 1.0),
        "free": SHORT.concurrency,
        "held": 0.0,
    }


def test_metrics_show_how_much_is_due_and_for_how_long() -> None:
    async def go() -> tuple[float, float]:
        async with served(worker=False) as it:
            await it.app.start(short)
            await it.app.start(short)
            await (await it.server.app_of("acme")).start(short)
            it.clock.advance("9s")
            return (
                await it.metric("stepwell_queue_due_runs", queue="default"),
                await it.metric("stepwell_queue_oldest_due_seconds", queue="default"),
            )

    assert run(go()) == (3.0, 9.0)


def test_metrics_answer_though_the_backend_does_not() -> None:
    async def go() -> tuple[int, float]:
        async with served() as it:
            it.app.weather.is_bad = True
            await until(lambda: it.metric("stepwell_backend_errors_total"))
            answer = await it.http.get("/metrics")
            return answer.status_code, await it.metric("stepwell_workers")

    assert run(go()) == (200, 1.0)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text; version=1.0.0; q=0.7, text/plain",
            "application/openmetrics-text; version=1.0.0",
        ),
        ("application/openmetrics-text; version=nonsense", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_who_asks_chooses_the_format(accept: str, content_type: str) -> None:
    async def go() -> Response:
        async with served() as it:
            await (await it.app.start(short)).result()
            return await it.http.get("/metrics", headers={"accept": accept})

    answer = run(go())

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(content_type)
    parse = parsed_openmetrics if "openmetrics" in content_type else parsed
    names = {family.name for family in parse(answer.text)}
    assert {"stepwell_run_duration_seconds", "stepwell_commit_size", "process_resident_memory_bytes"} <= names


def test_who_may_see_metrics_is_an_option() -> None:
    async def go() -> list[int]:
        async with served(worker=False, metrics_scope="read") as it:
            keys = it.server.access.keys
            statuses = [(await it.http.get("/metrics")).status_code]
            for namespace, scope in (("", "read"), ("", "trigger"), ("acme", "read")):
                issued = await keys.create(name="k", scopes=[scope], namespace=namespace)
                answer = await it.http.get("/metrics", headers={"authorization": f"Bearer {issued.text}"})
                statuses.append(answer.status_code)
            return statuses

    assert run(go()) == [401, 200, 403, 403]


# --- logs


def test_what_is_logged_while_a_request_is_answered_names_it(caplog: pytest.LogCaptureFixture) -> None:
    class Telling(logging.Handler):
        lines: list[dict[str, Any]]

        def emit(self, record: logging.LogRecord) -> None:
            self.lines.append(json.loads(JsonFormatter().format(record)))

    telling = Telling()
    telling.lines = []
    logger = logging.getLogger("stepwell.server")

    async def go() -> None:
        async with served(worker=False) as it:
            it.server.seeing.health = _breaks  # type: ignore[method-assign]
            await it.http.get("/readyz", headers={"x-request-id": "asked-1"})

    async def _breaks(*_: object) -> Any:
        raise RuntimeError("a bug")

    logger.addHandler(telling)
    try:
        run(go())
    finally:
        logger.removeHandler(telling)

    assert [line.get("request_id") for line in telling.lines] == ["asked-1"]


def test_seeing_forgets_apps_that_have_closed() -> None:
    async def go() -> list[str]:
        async with served(worker=False) as it:
            seeing: Seeing = it.server.seeing
            other = await it.server.app_of("acme")
            before = [app.namespace for app in seeing.apps()]
            await other.__aexit__(None, None, None)
            return [*before, "|", *(app.namespace for app in seeing.apps())]

    assert run(go()) == ["", "acme", "|", ""]


def test_alive_needs_no_app_that_is_open() -> None:
    async def main() -> list[int]:
        server = Stepwell("memory://").asgi()
        async with AsyncClient(transport=ASGITransport(server), base_url="http://localhost") as http:
            return [(await http.get(path)).status_code for path in ("/healthz", "/readyz")]

    assert asyncio.run(main()) == [200, 503]
