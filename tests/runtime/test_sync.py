"""The blocking twin: the app's verbs without an event loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.helpers import run
from tools.generate_sync import TARGET, render

from stepwell import (
    Context,
    Event,
    RunConflictError,
    RunError,
    RunQuery,
    Signal,
    Stepwell,
    StepwellError,
    Stream,
    step,
    workflow,
)
from stepwell.runtime.sync import SyncStepwell

SRC = str(Path(__file__).parents[2] / "src")
approval = Signal("approval", str)
paid = Event("paid", int)
words = Stream("words", str)


@step
async def double(n: int) -> int:
    return 2 * n


@step
def fail(text: str) -> None:
    raise ValueError(text)


@workflow
async def doubled(ctx: Context, n: int) -> int:
    return await double(n)


@workflow
async def approved(ctx: Context) -> str:
    return await ctx.receive(approval)


@workflow
async def payment(ctx: Context) -> int:
    return await ctx.receive(paid)


@workflow
async def hooked(ctx: Context) -> str:
    return await (await ctx.create_hook(str, token="a custom token"))


@workflow
async def told(ctx: Context, text: str) -> None:
    for word in text.split():
        ctx.send(words, word)


@workflow
async def failing(ctx: Context) -> None:
    await fail.options(retry=None)("no")


@pytest.fixture
def s() -> Iterator[SyncStepwell]:
    with Stepwell("memory://", include=[sys.modules[__name__]]).sync() as s:
        yield s


def test_the_twin_is_as_it_would_be_generated() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run: python tools/generate_sync.py"


def test_a_run_is_started_and_waited_for(s: SyncStepwell) -> None:
    assert s.start(doubled, 4, id="one").result(timeout="5s") == 8
    assert s.handle("one", doubled).status() == "completed"
    assert s.handle("one").id == "one"


def test_many_runs_are_started_at_once(s: SyncStepwell) -> None:
    assert [handle.result() for handle in s.start_many(doubled, [1, 2, 3])] == [2, 4, 6]


def test_a_signal_reaches_its_run(s: SyncStepwell) -> None:
    handle = s.start(approved)
    handle.send(approval, "yes")

    assert handle.result() == "yes"


def test_an_event_reaches_the_runs_that_wait_for_it(s: SyncStepwell) -> None:
    handle = s.start(payment)
    s.publish(paid, 7)

    assert handle.result() == 7


def test_a_hook_is_completed(s: SyncStepwell) -> None:
    handle = s.start(hooked)
    while not handle.head().waiting:
        pass
    s.complete("a custom token", "done")

    assert handle.result() == "done"


def test_a_stream_is_a_plain_iterator(s: SyncStepwell) -> None:
    assert list(s.start(told, "one two").stream(words)) == ["one", "two"]


def test_a_stream_may_be_left_early(s: SyncStepwell) -> None:
    handle = s.start(told, "one two")
    for word in handle.stream(words):
        assert word == "one"
        break

    assert handle.result() is None


def test_runs_are_listed(s: SyncStepwell) -> None:
    s.start(doubled, 4, id="one").result()

    assert [head.id for head in s.runs.list(RunQuery(workflow="doubled")).runs] == ["one"]
    assert [head.id for head in s.runs.iterate()] == ["one"]
    assert s.runs.get("one").workflow == "doubled"


def test_a_run_is_cancelled(s: SyncStepwell) -> None:
    handle = s.start(approved)
    handle.cancel("enough")

    with pytest.raises(RunError, match="enough"):
        handle.result()


def test_an_error_comes_as_itself(s: SyncStepwell) -> None:
    with pytest.raises(RunError, match="no") as caught:
        s.start(failing, id="one").result()
    with pytest.raises(RunConflictError):
        s.start(doubled, 1, id="one")

    assert "outcome_error" in str(caught.traceback[-1]) or caught.traceback[-1].name == "result"


def test_a_timeout_leaves_the_run_alone(s: SyncStepwell) -> None:
    handle = s.start(approved)

    with pytest.raises(TimeoutError):
        handle.result(timeout=0.01)

    assert repr(handle) == f"<run {handle.id}>"
    assert handle.status() in ("queued", "running", "waiting")


def test_threads_may_share_it(s: SyncStepwell) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: s.start(doubled, n).result(), range(20))) == [2 * n for n in range(20)]


def test_it_may_be_opened_again() -> None:
    app = Stepwell("memory://", include=[doubled])
    for n in (1, 2):
        with app.sync() as s:
            assert s.start(doubled, n).result() == 2 * n


def test_it_is_refused_where_an_event_loop_runs() -> None:
    async def main() -> None:
        with pytest.raises(StepwellError, match="use `async with app:`"), Stepwell("memory://").sync():
            pass

    run(main())


def test_its_calls_are_refused_where_an_event_loop_runs(s: SyncStepwell) -> None:
    async def main() -> None:
        with pytest.raises(StepwellError, match="use `async with app:`"):
            s.start(doubled, 1)

    run(main())


def test_an_app_that_is_open_has_no_twin() -> None:
    app = Stepwell("memory://")

    with app.sync(), pytest.raises(StepwellError, match="open already"), app.sync():
        pass


def test_nothing_works_before_or_after() -> None:
    with Stepwell("memory://", include=[doubled]).sync() as s:
        handle = s.start(doubled, 1)

    with pytest.raises(StepwellError, match="closed"):
        handle.result()
    with pytest.raises(StepwellError, match="not open"):
        Stepwell("memory://").sync().start(doubled, 1)


def test_what_opening_raises_is_raised() -> None:
    with pytest.raises(StepwellError, match="nothing"), Stepwell("nothing://").sync():
        pass


# --- opened until the process ends


FORKING = """
import os, threading
from stepwell import Context, Stepwell, StepwellError, step, workflow

@step
def double(n: int) -> int:
    return 2 * n

@workflow
async def doubled(ctx: Context, n: int) -> int:
    return await double(n)

s = Stepwell("sqlite:///runs.db", include=[__name__]).sync()
results = []
threads = [threading.Thread(target=lambda n=n: results.append(s.open().start(doubled, n).result())) for n in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(results), flush=True)
child = os.fork()
if child == 0:
    try:
        s.open().start(doubled, 7)
    except StepwellError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_an_app_is_opened_once_in_a_process_and_closes_with_it_and_forks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(FORKING)
    # Python 3.12 and newer warn of any fork beside threads.
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "forking.py"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": SRC}, capture_output=True, text=True)
    results, refused = done.stdout.splitlines()

    assert (done.returncode, done.stderr, results) == (0, "", "[0, 2, 4, 6, 8]")
    assert "before it forked; open it in each process after that" in refused
    with Stepwell(f"sqlite:///{tmp_path}/runs.db").sync() as s:
        assert [head.owner for head in s.runs.list().runs] == [None] * 5


def test_an_app_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    s = Stepwell(f"sqlite:///{tmp_path}/later/runs.db", include=[doubled]).sync()
    with pytest.raises(StepwellError):
        s.open()
    (tmp_path / "later").mkdir()

    assert s.open().start(doubled, 2).result() == 4
    s.__exit__()
