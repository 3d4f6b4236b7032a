"""What runs at which moment: cases in which the order of the world is given, and what is asked for is looked at."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from stepwell.codec.failures import failure_of
from stepwell.engine.program import Abandon, Completed, Failed, StepCommand
from stepwell.errors import FatalError
from stepwell.model.entries import Received, StepCompleted, StepFailed, TimerFired
from stepwell.model.ids import CommandId, MessageId
from stepwell.model.messages import CancelRequested, HookCompleted, Message
from stepwell.testing.blueprints.vocabulary import Broken, Reply
from tests.blueprints.cases import Json, blueprint, const, echo
from tests.blueprints.play import BORN_AT, Table, outcome_of


class Hand:
    """A run that goes on only as it is told. `asked` are the steps under way."""

    def __init__(self, nodes: list[Json], edges: list[str], metadata: Json = None, input: Json = None) -> None:
        self.program = Table(blueprint("main", nodes, edges, metadata), input).begin([])
        self.now = BORN_AT
        self.asked: set[str] = set()
        self.mail = 0
        self._look()

    def done(self, id: str, output: Json = None, **more: Any) -> None:
        value = outcome_of(Reply(output, **more))
        self._feed(StepCompleted(id=CommandId(id), value=value), id)

    def failed(self, id: str, error: Exception | None = None) -> None:
        self._feed(StepFailed(id=CommandId(id), failure=failure_of(error or Broken("no"))), id)

    def later(self) -> None:
        due = self.program.next_due()
        assert due is not None, "nothing is timed"
        self.now = due
        n, when, name = self.program.due_timers(due)[0]
        self._feed(TimerFired(n=n, due=when, name=name))

    def told(self, message: Message) -> None:
        self.mail += 1
        self._feed(Received(no=self.mail, id=MessageId(f"m{self.mail}"), at=self.now, message=message))

    def resumed(self, id: str, **answer: Json) -> None:
        self.told(HookCompleted(base=1, command=CommandId(id), value=Raw(msgspec.json.encode(answer))))

    @property
    def value(self) -> Json:
        assert isinstance(self.program.outcome, Completed)
        return msgspec.json.decode(self.program.outcome.value)

    def _feed(self, entry: Any, id: str | None = None) -> None:
        self.program.apply(entry, self.now)
        self.asked.discard(id or "")
        self._look()

    def _look(self) -> None:
        for command in self.program.take_commands():
            if isinstance(command, StepCommand):
                self.asked.add(command.id)
            elif isinstance(command, Abandon):
                self.asked.discard(command.id)


def items(count: int, **params: Json) -> Hand:
    given = {"workerUsesKey": "item", "gatherNodeId": "s_gather", **params}
    nodes = [
        {"id": "s_scatter", "uses": "batch-scatter", "inputs": "list", "params": given},
        {"id": "s_gather", "uses": "batch-gather", "params": {"gatherNodeId": "s_gather"}},
    ]
    return Hand(nodes, ["s_scatter -> s_gather"], input={"list": list(range(count))})


def names(*numbers: int) -> set[str]:
    return {f"s[{number}]" for number in numbers}


def test_a_join_of_any_does_not_wait_for_the_others() -> None:
    hand = Hand([const("a"), const("b"), echo("j", config={"joinStrategy": "any"})], ["a -> j", "b -> j"])
    hand.done("b", 2)
    assert hand.asked == {"a", "j"}
    hand.done("j", 2)
    hand.done("a", 1)
    assert hand.value == 2


def test_a_join_of_all_waits_for_the_last() -> None:
    hand = Hand([const("a"), const("b"), echo("j")], ["a -> j", "b -> j"])
    hand.done("b", 2)
    assert hand.asked == {"a"}
    hand.done("a", 1)
    assert hand.asked == {"j"}


def test_a_node_does_not_wait_for_others_of_its_rank() -> None:
    hand = Hand([const("a"), const("b"), echo("c"), echo("d")], ["a -> c", "c -> d"])
    hand.done("a")
    hand.done("c")
    assert hand.asked == {"b", "d"}


def test_no_more_nodes_run_at_a_time_than_metadata_says() -> None:
    hand = Hand([const(id) for id in "abcde"], [], {"concurrency": 2})
    assert hand.asked == {"a", "b"}
    hand.done("b")
    assert hand.asked == {"a", "c"}


def test_a_chunk_begins_when_all_of_the_one_before_has_ended() -> None:
    hand = items(5, chunkSize=2)
    assert hand.asked == names(0, 1)
    hand.done("s[0]", 0)
    assert hand.asked == names(1)
    hand.done("s[1]", 1)
    assert hand.asked == names(2, 3)
    hand.done("s[3]", 3)
    hand.done("s[2]", 2)
    assert hand.asked == names(4)
    hand.done("s[4]", 4)
    assert hand.value == [0, 1, 2, 3, 4]


def test_of_a_batch_with_concurrency_the_next_item_begins_when_one_has_ended() -> None:
    hand = items(4, concurrency=2)
    assert hand.asked == names(0, 1)
    hand.done("s[1]", 1)
    assert hand.asked == names(0, 2)
    hand.done("s[2]", 2)
    assert hand.asked == names(0, 3)


def test_the_first_item_that_fails_ends_its_batch() -> None:
    hand = items(5, concurrency=2)
    hand.failed("s[1]")
    assert hand.asked == set(), "the other item is not waited for, and no new one begins"
    assert isinstance(hand.program.outcome, Failed)


def test_an_item_that_fails_does_not_end_a_batch_that_settles() -> None:
    hand = items(3, concurrency=1, settle=True)
    hand.failed("s[0]")
    assert hand.asked == names(1)


def test_a_failed_node_does_not_stop_the_others() -> None:
    hand = Hand([const("a"), const("b"), echo("c")], ["b -> c"])
    hand.failed("a")
    assert hand.program.outcome is None
    hand.done("b")
    assert hand.asked == {"c"}
    hand.done("c")
    assert isinstance(hand.program.outcome, Failed)


def test_a_fatal_error_stops_the_others() -> None:
    hand = Hand([const("a"), const("b"), {"id": "s", "uses": "sleep", "params": {"duration": "1h"}}], [])
    hand.failed("a", FatalError("for good"))
    assert isinstance(hand.program.outcome, Failed)
    assert hand.program.next_due() is None


def test_the_first_node_that_fails_in_the_journal_names_the_failure() -> None:
    hand = Hand([const("a"), const("b")], [])
    hand.failed("b", Broken("first"))
    hand.failed("a", Broken("second"))
    assert isinstance(hand.program.outcome, Failed)
    assert hand.program.outcome.failure.message == "node 'b': first"


def test_of_two_that_write_a_key_at_the_same_time_the_last_in_the_journal_counts() -> None:
    hand = Hand([const("a"), const("b"), {"id": "r", "uses": "read", "inputs": "k"}], ["a -> r", "b -> r"])
    hand.done("b", writes={"k": "b"})
    hand.done("a", writes={"k": "a"})
    assert hand.program.machine.visits["r"].input == Raw(b'"a"')


def test_what_a_node_writes_is_seen_when_it_has_ended() -> None:
    hand = Hand([const("a"), const("z"), echo("b", inputs="k")], ["z -> b"])
    hand.done("z")
    assert hand.program.machine.visits["b"].input is None
    hand.done("a", writes={"k": 1})
    assert hand.program.machine.root.space.value("k") == 1


def test_an_answer_that_comes_early_waits_for_its_node() -> None:
    hand = Hand([const("a"), {"id": "w", "uses": "wait"}, echo("b")], ["a -> w", "w -> b"])
    hand.resumed("w", output=5)
    hand.done("a")
    assert hand.asked == {"b"}


def test_a_timeout_that_was_not_needed_does_not_fire() -> None:
    wait = {"id": "w", "uses": "wait", "params": {"timeout": "1h"}}
    hand = Hand([wait, {"id": "s", "uses": "sleep", "params": {"duration": "2h"}}], [])
    hand.resumed("w", output=5)
    hand.later()
    assert hand.value == {"w": 5, "s": None}


def test_sleeps_end_in_the_order_of_their_times() -> None:
    hand = Hand(
        [{"id": id, "uses": "sleep", "params": {"duration": ms}} for id, ms in (("long", 50), ("short", 20))]
        + [echo("a"), echo("b")],
        ["long -> a", "short -> b"],
    )
    hand.later()
    assert hand.asked == {"b"}
    hand.later()
    assert hand.asked == {"a", "b"}
    assert hand.now == BORN_AT + 50


@pytest.mark.parametrize("uses", ["wait", "sleep"])
def test_a_cancelled_run_waits_for_nothing(uses: str) -> None:
    hand = Hand([{"id": "w", "uses": uses, "params": {"duration": "1h"}}, const("a")], [])
    hand.told(CancelRequested())
    assert type(hand.program.outcome).__name__ == "Cancelled"
    assert hand.program.next_due() is None


def test_subflows_within_themselves_end_somewhere() -> None:
    hand = Hand([{"id": "s", "uses": "subflow", "params": {"blueprintId": "main"}}], [])
    assert isinstance(hand.program.outcome, Failed)
    assert "subflows are nested deeper than 50" in hand.program.outcome.failure.message


def test_an_iteration_begins_when_all_of_the_one_before_has_ended() -> None:
    loop = {"id": "L", "uses": "loop-controller", "params": {"condition": "true"}}
    edges = ["a -> L", 'L -> b {"action": "continue"}', "b -> c", "b -> d", "c -> L", "d -> L"]
    hand = Hand([const("a"), loop, echo("b"), echo("c"), echo("d")], edges)
    hand.done("a")
    hand.done("b")
    hand.done("c")
    assert hand.asked == {"d"}
    hand.done("d")
    assert hand.asked == {"b:2"}


def test_an_edge_out_of_a_body_does_not_wait_for_the_end_of_the_loop() -> None:
    loop = {"id": "L", "uses": "loop-controller", "params": {"condition": "true"}}
    edges = ["a -> L", 'L -> b {"action": "continue"}', "b -> c", "b -> aside", "c -> L"]
    hand = Hand([const("a"), loop, echo("b"), echo("c"), echo("aside")], edges)
    hand.done("a")
    hand.done("b", 1)
    assert hand.asked == {"c", "aside"}
