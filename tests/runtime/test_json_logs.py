"""Logs as JSON, and logs that are silent on replay, whichever handler there is and whenever it came."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from stepwell import Context, Secret, current_step, step, workflow
from stepwell.runtime import logs
from stepwell.runtime.logs import REQUEST_ID, JsonFormatter, RunFields
from stepwell.runtime.observe import QuietRecords, quiet_replay
from stepwell.testing import StepwellTest


class Lines:
    """A handler over JSON that keeps what it wrote."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.handler.setFormatter(JsonFormatter())

    def all(self, logger: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [line for line in lines if logger is None or line["logger"] == logger]

    def messages(self, logger: str) -> list[str]:
        return [line["message"] for line in self.all(logger)]


@pytest.fixture(autouse=True)
def plain_records() -> Iterator[None]:
    """Records as the standard library makes them, whatever a worker of another test has left."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines, root = Lines(), logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    root.addHandler(lines.handler)
    yield lines
    root.removeHandler(lines.handler)
    root.setLevel(before)


mine = logging.getLogger("mine")


@step
async def charge(amount: int) -> int:
    mine.info("charging", extra={"amount": amount})
    current_step().log.info("by its own log")
    return amount


@step
def in_a_thread() -> None:
    mine.info("from a thread")


@workflow(id="talkative")
async def talks(ctx: Context) -> None:
    mine.info("before")
    await charge(5)
    ctx.log.info("between")
    await ctx.sleep("30d")  # nothing is cached in tests, so what comes before is replayed
    mine.info("after")
    await in_a_thread()


def test_what_a_step_logs_names_the_step_by_any_logger(stepwell: StepwellTest, lines: Lines) -> None:
    stepwell.run_sync(talks, id="me")

    (line,) = [line for line in lines.all("mine") if line["message"] == "charging"]

    assert [line[name] for name in ("run_id", "workflow", "step", "attempt", "amount")] == [
        *("me", "talkative", "charge", 1, 5)
    ]
    assert [line["step"] for line in lines.all("stepwell.step.charge")] == ["charge"]


def test_what_a_step_logs_from_a_thread_names_it_too(stepwell: StepwellTest, lines: Lines) -> None:
    stepwell.run_sync(talks, id="me")

    (line,) = [line for line in lines.all("mine") if line["message"] == "from a thread"]

    assert (line["run_id"], line["step"]) == ("me", "in_a_thread")


def test_what_a_body_logs_names_its_run_once(stepwell: StepwellTest, lines: Lines) -> None:
    stepwell.run_sync(talks, id="me")

    (line,) = lines.all("stepwell.run.talkative")

    assert (line["message"], line["run_id"], line["workflow"]) == ("between", "me", "talkative")
    assert "step" not in line


def test_nothing_is_logged_again_on_replay(stepwell: StepwellTest, lines: Lines) -> None:
    stepwell.run_sync(talks)

    assert lines.messages("mine") == ["before", "charging", "after", "from a thread"]


def test_a_handler_that_comes_while_the_worker_works_is_silent_on_replay_too(stepwell: StepwellTest) -> None:
    late, own = Lines(), logging.getLogger("of somebody")
    own.propagate = False
    own.setLevel(logging.INFO)

    @step
    async def add_handler() -> None:
        own.addHandler(late.handler)

    @workflow
    async def joined(ctx: Context) -> None:
        own.info("before")
        await add_handler()
        own.info("between")
        await ctx.sleep("30d")
        own.info("after")

    stepwell.run_sync(joined)
    own.removeHandler(late.handler)

    assert late.messages("of somebody") == ["between", "after"]


def test_workers_may_end_in_any_order() -> None:
    before = logging.getLogRecordFactory()
    first, second = quiet_replay(), quiet_replay()
    first.__enter__()
    second.__enter__()

    first.__exit__(None, None, None)
    is_quiet = isinstance(logging.getLogRecordFactory(), QuietRecords)
    second.__exit__(None, None, None)

    assert is_quiet
    assert logging.getLogRecordFactory() is before


def test_many_workers_one_after_another_leave_nothing_while_one_stays() -> None:
    before = logging.getLogRecordFactory()
    with quiet_replay():
        last = quiet_replay()
        last.__enter__()
        for _ in range(5):
            worker = quiet_replay()
            worker.__enter__()
            last.__exit__(None, None, None)
            last = worker
        made = logging.getLogRecordFactory()
        last.__exit__(None, None, None)

    assert isinstance(made, QuietRecords)
    assert made.make is before


def test_who_else_makes_records_keeps_doing_so() -> None:
    before = logging.getLogRecordFactory()
    with quiet_replay():
        ours = logging.getLogRecordFactory()

        def stamped(*args: Any, **kwargs: Any) -> logging.LogRecord:
            return ours(*args, **kwargs)

        logging.setLogRecordFactory(stamped)
    try:
        assert logging.getLogRecordFactory() is stamped
    finally:
        logging.setLogRecordFactory(before)


def test_a_record_is_one_line_whatever_is_in_it(lines: Lines) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        mine.exception("it\nfailed", stack_info=True)

    (line,) = lines.all("mine")

    assert line["message"] == "it\nfailed"
    assert (line["level"], line["time"][-6:]) == ("ERROR", "+00:00")
    assert "ValueError: two\nlines" in line["exception"]
    assert "test_json_logs" in line["stack"]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer sw_k1_abcdefghijkl",
        "the key sw_k1abc_0123456789abcdef was used",
        "?access_token=st_eyJhbGciOi.abc-def_1",
        "bearer abcdefghijk",
    ],
)
def test_keys_and_tokens_are_masked(lines: Lines, text: str) -> None:
    mine.info("%s", text, extra={"url": text})

    (line,) = lines.all("mine")

    for shown in (line["message"], line["url"]):
        assert shown.endswith(("***", "*** was used"))
        assert not any(part in shown for part in ("abcdefghijk", "0123456789", "eyJhbGciOi"))


def test_fields_that_are_named_as_secret_are_not_shown(lines: Lines) -> None:
    mine.info("x", extra={"api_key": "k", "Password": "p", "session_token": 7, "who": Secret("stripe")})

    (line,) = lines.all("mine")

    assert [line[name] for name in ("api_key", "Password", "session_token")] == ["***"] * 3
    assert line["who"] == {"secret": "stripe"}


class Awkward:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_record_that_cannot_be_put_together_is_shown_all_the_same() -> None:
    fields = {"odd": Awkward(), "large": ["x" * 20_000], "set": {1}}
    record = mine.makeRecord("mine", logging.INFO, "", 1, "%d of %d", ("many",), None, extra=fields)

    line = json.loads(JsonFormatter().format(record))

    assert line["message"] == "%d of %d ('many',)"
    assert line["odd"] == "(Awkward)"
    assert len(line["large"]) < 9_000


def test_a_request_is_named_where_there_is_no_run(stepwell: StepwellTest, lines: Lines) -> None:
    token = REQUEST_ID.set("r-1")
    try:
        mine.info("answering")
        stepwell.run_sync(talks)
    finally:
        REQUEST_ID.reset(token)

    found = {line["message"]: line.get("request_id") for line in lines.all("mine")}
    assert found == {"answering": "r-1", "before": None, "charging": None, "after": None, "from a thread": None}


def test_a_queue_between_knows_where_a_record_comes_from(stepwell: StepwellTest) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)  # type: ignore[arg-type]
    handler.addFilter(RunFields())
    mine.addHandler(handler)
    mine.setLevel(logging.INFO)
    try:
        stepwell.run_sync(talks, id="me")
    finally:
        mine.removeHandler(handler)
        mine.setLevel(logging.NOTSET)

    written = [json.loads(JsonFormatter().format(records.get())) for _ in range(records.qsize())]
    assert [(line["run_id"], line.get("step")) for line in written if line["message"] == "charging"] == [
        ("me", "charge")
    ]


def test_configuring_replaces_what_was_there() -> None:
    own = logging.getLogger("configured")
    old = logging.NullHandler()
    own.addHandler(old)
    text = io.StringIO()

    handler = logs.configure(level="WARNING", stream=text, logger="configured")
    own.info("too quiet")
    own.warning("heard")
    handlers = list(own.handlers)
    own.removeHandler(handler)

    assert handlers == [handler]
    assert [json.loads(line)["message"] for line in text.getvalue().splitlines()] == ["heard"]
