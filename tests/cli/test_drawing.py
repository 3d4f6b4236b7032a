"""What is drawn, without a terminal."""

from __future__ import annotations

from msgspec import Raw

from stepwell.cli.console import Paint, clip, short_ms, table
from stepwell.cli.drawing import draw
from stepwell.cli.progress import Progress, wait_text
from stepwell.engine.history import timeline
from stepwell.engine.timeline import Timeline
from stepwell.model.entries import (
    AttemptFailed,
    Created,
    Ended,
    Entry,
    Frame,
    Received,
    Started,
    StepCompleted,
    TimerFired,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, MessageId, RunId
from stepwell.model.messages import Signal
from stepwell.model.runs import Head, Wait

PLAIN = Paint(False)


def story(*happened: tuple[int, Entry]) -> Timeline:
    frames = [Frame(at, Claim("c"), (entry,)) for at, entry in ((0, Created(workflow="w", seed="00")), *happened)]
    return timeline(RunId("r"), list(enumerate(frames, 1)))


def completed(id: str, ms: int, attempt: int = 1) -> StepCompleted:
    return StepCompleted(id=CommandId(id), ms=ms, attempt=attempt, value=Raw(b"1"))


def lines(told: Timeline, head: Head | None = None, *, is_full: bool = False) -> list[str]:
    return draw(told, head, now=1000, columns=60, paint=PLAIN, is_full=is_full)


def row(drawn: list[str], label: str) -> str:
    return next(line for line in drawn if line.startswith(f"  {label}"))


def test_bars_stand_where_their_time_is() -> None:
    drawn = lines(story((500, completed("a", 500)), (1000, completed("b", 500)), (1000, Ended(status="completed"))))
    first, second = row(drawn, "a"), row(drawn, "b")

    assert first.index("█") < second.index("█")
    assert first.rindex("█") < second.index("█")
    assert abs(first.count("█") - second.count("█")) <= 1
    assert all(len(line) <= 60 for line in drawn[2:])


def test_failed_attempts_and_the_time_between_are_told_apart() -> None:
    failed = AttemptFailed(id=CommandId("a"), failure=Failure(types=("x.E",)), attempt=1, retry_at=800, ms=200)
    drawn = row(lines(story((200, failed), (1000, completed("a", 200, 2)))), "a")

    assert drawn.index("▒") < drawn.index("·") < drawn.index("█")
    assert "2 attempts" in drawn


def test_many_steps_of_one_fan_out_share_a_row() -> None:
    told = story(*((100 * n, completed(f"f[{n}]", 90)) for n in range(1, 9)))

    assert "each" in row(lines(told), "f ×8")
    assert len(lines(told, is_full=True)) == len(lines(told)) + 7


def test_messages_and_timers_are_points() -> None:
    signal = Received(no=1, id=MessageId("m"), at=500, message=Signal(name="go", value=Raw(b"1")))
    drawn = lines(story((500, signal), (900, TimerFired(n=1, due=900))))

    assert row(drawn, "✉ go").count("◆") == 1
    assert row(drawn, "⏲ timer").count("◆") == 1


def test_an_open_run_says_what_it_waits_for() -> None:
    head = Head(
        id=RunId("r"),
        workflow="w",
        status="waiting",
        created_at=0,
        waiting=(Wait(kind="signal", name="go"),),
    )

    assert lines(story((10, completed("a", 5))), head)[-1] == "  waits for signal go: stepwell send r go JSON"


def test_a_run_that_waits_for_its_time_says_when_that_is() -> None:
    head = Head(
        id=RunId("r"), workflow="w", created_at=0, waiting=(Wait(kind="start", name="run", until=86_400_000 * 20_000),)
    )

    assert lines(story(), head)[-1].startswith("  starts at 2024-10-0")


def test_a_body_that_began_late_says_how_late() -> None:
    drawn = lines(story((600_000, Started(at=600_000)), (600_500, completed("a", 500))))

    assert row(drawn, "▶ begins").rstrip().endswith("10m00s late")


def test_a_run_that_has_done_nothing_is_drawn() -> None:
    assert lines(story())[0].startswith("r  w  open")


def test_progress_tells_only_news_and_each_wait_once() -> None:
    said: list[str] = []
    progress = Progress(RunId("r"), said.append, paint=PLAIN, columns=80, since=2)
    progress.entry(1, 0, Created(workflow="w", seed="00"))
    progress.entry(2, 10, completed("a", 10))
    progress.entry(3, 1500, completed("b", 20, 2))
    head = Head(id=RunId("r"), workflow="w", status="waiting", created_at=0, waiting=(Wait(kind="signal", name="go"),))
    progress.waiting(head)
    progress.waiting(head)

    assert said == [
        "  goes on after 1 completed steps",
        "   1.5s ✓ b 20ms, attempt 2",
        "… waits for signal go: stepwell send r go JSON",
    ]


def test_progress_knows_the_token_of_a_hook() -> None:
    said: list[str] = []
    progress = Progress(RunId("r"), said.append, paint=PLAIN, columns=80)
    progress.entry(1, 0, Created(workflow="w", seed="00"))
    head = Head(id=RunId("r"), workflow="w", status="waiting", created_at=0, waiting=(Wait(kind="token", name="hook"),))
    progress.waiting(head)

    assert "stepwell complete hk_" in said[0]


def test_tables_align_and_fit() -> None:
    drawn = table(("A", "B"), [("long", "x" * 100), ("s", "y")], columns=30, paint=PLAIN)

    assert [line.split()[0] for line in drawn] == ["A", "long", "s"]
    assert all(len(line) <= 30 for line in drawn)
    assert table(("A",), [], columns=30, paint=PLAIN) == []


def test_colours_take_no_room_in_tables() -> None:
    paint = Paint(True)
    drawn = table(("A", "B"), [(paint("x", "red"), "1"), ("long", "2")], columns=30, paint=paint)

    assert drawn[1] == "\033[31mx\033[0m     1"


def test_times_and_long_lines_are_short() -> None:
    assert [short_ms(ms) for ms in (5, 1500, 90_000, 7_200_000, 200_000_000)] == [
        "5ms",
        "1.5s",
        "1m30s",
        "2h00m",
        "2d7h",
    ]
    assert clip("a\nb   c", 10) == "a b c"
    assert clip("abcdef", 4) == "abc…"


def test_colours_are_only_where_they_are_wanted() -> None:
    assert Paint(True)("x", "red") == "\033[31mx\033[0m"
    assert PLAIN("x", "red") == "x"


def test_invocations_of_a_body_elsewhere_are_no_steps_to_its_author() -> None:
    told = story((500, completed("load", 100)), (500, completed("@invocation[1]", 500)))
    assert row(lines(told), "⇄ invocation 1").endswith("500ms")
    assert row(lines(told), "load").endswith("100ms")
    many = story(*((n * 100, completed(f"@invocation[{n}]", 50)) for n in range(1, 20)))
    assert "each" in row(lines(many), "⇄ invocations ×19")


def test_a_worker_elsewhere_that_does_not_answer_is_asked_again() -> None:
    head = Head(id=RunId("r"), workflow="w", created_at=0)
    assert wait_text(head, Wait(kind="retry", name="@invocation[2]")) == "asks its worker again later"
    assert wait_text(head, Wait(kind="retry", name="charge")) == "tries charge again later"


def test_what_a_worker_elsewhere_waits_for_is_completed_by_its_name() -> None:
    told = story((500, completed("@invocation[1]", 500)))
    wait = Wait(kind="token", name="report:7 b")
    head = Head(id=RunId("r"), workflow="w", status="waiting", created_at=0, waiting=(wait,))
    assert draw(told, head, now=1000, columns=200, paint=PLAIN)[-1] == (
        '  waits for report:7 b: post {"payload": JSON} to /api/runs/r/tokens/report%3A7%20b of a server'
    )


def test_a_run_that_goes_on_does_not_say_what_it_waited_for() -> None:
    waiting = (Wait(kind="signal", name="go"),)
    head = Head(id=RunId("r"), workflow="w", status="running", created_at=0, waiting=waiting)
    assert "go" not in "".join(lines(story((10, completed("a", 5))), head))
