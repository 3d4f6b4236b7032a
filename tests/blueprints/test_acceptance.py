"""The acceptance tests of blueprints, 1 to 8: joins, redelivery, crashes, branches, fallbacks, waits.

Their numbers are those of the list in the specification of Flowcraft's adapters. Each fails on that library.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stepwell import Blueprint, Event, Handle, NodeContext, NodeResult, RunConflictError, Signal, Stepwell
from stepwell.testing.faults import Call
from tests.blueprints.realms import Realm, committed, did, effects, stands, survives

Flow = Blueprint[Any, Any]
approval = Signal("approval", dict[str, Any])
paid = Event("paid", dict[str, Any])


async def echo(ctx: NodeContext[Any]) -> Any:
    did()
    return ctx.input


async def name(ctx: NodeContext[Any]) -> str:
    did()
    return ctx.node_id


async def broken(ctx: NodeContext[Any]) -> None:
    did()
    raise ValueError("it is broken")


async def choose(ctx: NodeContext[Any]) -> NodeResult:
    """Another answer each time that it is asked in one run."""
    did()
    times = effects[f"{ctx.step.run_id}/{ctx.id}"]
    return NodeResult(output=times, action="yes" if times == 1 else "no")


def nodes(flow: Flow, code: Any, ids: Iterable[str], **options: Any) -> Flow:
    for id in ids:
        flow.node(id, code, **options)
    return flow


def edges(flow: Flow, *pairs: str, **options: Any) -> Flow:
    for pair in pairs:
        source, target = pair.split()
        flow.edge(source, target, **options)
    return flow


CHAIN = edges(nodes(Blueprint("chain"), name, "abc"), "a b", "b c")
DIAMOND = edges(nodes(Blueprint("diamond"), name, "abcd"), "a b", "a c", "b d", "c d")
ANY = edges(
    nodes(Blueprint("any"), name, "abc").node("j", name, join="any").node("end", name), "a j", "b j", "c j", "j end"
)


def test_01_a_fresh_run_without_a_version_completes(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(CHAIN) as app:
            handle = await app.start(CHAIN, 5)
            assert await handle.result() == "c"
            assert (await app.runs.get(handle.id)).version == ""

    realm.run(body())


def test_02_a_join_of_any_with_three_predecessors_completes_once(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(ANY) as app:
            handle = await app.start(ANY, None, id="r")
            assert await handle.result() == "end"
            assert await committed(app, "r") == dict.fromkeys(["a", "b", "c", "j", "end"], 1)

    realm.run(body())
    assert set(effects.values()) == {1}


async def twice(call: Call) -> Any:
    """Each write that is safe to repeat is done twice, as if its first answer had been lost."""
    if call.name in {"store.create", "store.append", "store.deliver", "store.park", "queue.publish"}:
        await call.apply()
    return await call.apply()


@pytest.mark.parametrize("flow", [DIAMOND, ANY], ids=["all", "any"])
def test_03_joins_fire_once_if_everything_is_delivered_twice(realm: Realm, flow: Flow) -> None:
    async def body() -> None:
        async with realm.working(flow, policy=twice) as app, realm.working(flow, policy=twice):
            handle = await app.start(flow, None, id="r")
            await handle.result()
            done = await committed(app, "r")
            assert set(done.values()) == {1}
            order = list(done)
            if flow is DIAMOND:
                assert order[0] == "a"
                assert order[-1] == "d"

    realm.run(body())


def test_04_a_run_survives_a_death_at_every_write(realm: Realm) -> None:
    def check(value: Any) -> None:
        assert value == "d"

    found = realm.run(survives(realm, DIAMOND, None, check))

    assert len(found) >= 8
    assert all(counter == {"a": 1, "b": 1, "c": 1, "d": 1} for counter in found)


def test_04_a_run_survives_a_process_that_is_killed_in_every_node(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    command = [sys.executable, "-m", "tests.blueprints.killed", str(tmp_path)]
    answers = []
    while not answers or answers[-1].returncode == -signal.SIGKILL:
        answers.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=False))

    assert answers[-1].stdout == "d {'a': 1, 'b': 1, 'c': 1, 'd': 1}\n", answers[-1].stderr
    assert len(answers) == 1 + 4
    assert sorted((tmp_path / "log").read_text().split()) in (list("aabbccdd"), list("aabbbccdd"), list("aabbcccdd"))


CHOICE = (
    edges(nodes(Blueprint("choice").node("choose", choose), name, ["yes", "no"]).node("end", name), "yes end", "no end")
    .edge("choose", "yes", action="yes")
    .edge("choose", "no", action="no")
)


def test_05_redelivery_after_an_action_keeps_the_branch(realm: Realm) -> None:
    def check(value: Any) -> None:
        assert value == "end"

    found = realm.run(survives(realm, CHOICE, None, check))

    assert all(set(counter) in ({"choose", "yes", "end"}, {"choose", "no", "end"}) for counter in found)
    branches = {run.partition("/")[0]: run for run in effects if run.endswith(("/yes", "/no"))}
    assert len(branches) == len([run for run in effects if run.endswith(("/yes", "/no"))]), "one branch in each run"


EXCLUSIVE = (
    edges(
        nodes(Blueprint("exclusive").node("choose", choose), name, ["yes", "no", "left", "right", "both"]), "left both"
    )
    .edge("right", "both")
    .edge("choose", "yes", action="yes")
    .edge("choose", "no", action="no")
    .edge("choose", "left", action="yes")
    .edge("choose", "right", action="no")
)


def test_06_exclusive_branches_complete_and_the_untaken_one_never_runs(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(EXCLUSIVE) as app:
            handle = await app.start(EXCLUSIVE, None, id="r")
            assert await handle.result() == {"yes": "yes", "both": "both"}
            state = await app.runs.state("r")
            assert {id for id, node in state.nodes.items() if node.status == "skipped"} == {"no", "right"}
            assert (await app.runs.get("r")).is_settled

    realm.run(body())


def test_06_the_untaken_branch_does_not_run_after_recovery_either(realm: Realm) -> None:
    def check(value: Any) -> None:
        assert value in ({"yes": "yes", "both": "both"}, {"no": "no", "both": "both"})

    for counter in realm.run(survives(realm, EXCLUSIVE, None, check)):
        assert set(counter) in ({"choose", "yes", "left", "both"}, {"choose", "no", "right", "both"})


def test_07_an_unused_fallback_never_runs(realm: Realm) -> None:
    flow = Blueprint("unused").node("a", name, fallback="spare").node("spare", name).node("b", name).node("c", name)
    edges(flow, "a b", "spare c", "b c")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, None, id="r")
            assert await handle.result() == "c"
            assert await committed(app, "r") == {"a": 1, "b": 1, "c": 1}
            assert (await app.runs.state("r")).nodes["spare"].status == "skipped"

    realm.run(body())


def test_07_the_successors_of_a_fallback_are_honoured(realm: Realm) -> None:
    flow = Blueprint("used").node("a", broken, fallback="spare").node("spare", name).node("b", echo).node("c", echo)
    edges(flow, "a b", "spare c")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, None, id="r")
            assert await handle.result() == {"b": "spare", "c": "spare"}
            state = await app.runs.state("r")
            assert (state.nodes["a"].status, state.nodes["spare"].status) == ("recovered", "completed")

    realm.run(body())


ASK = (
    nodes(Blueprint("ask").wait("wait"), echo, ["publish", "drop"])
    .edge("wait", "publish", action="approve")
    .edge("wait", "drop", action="reject")
)


def test_08_a_wait_parks_and_goes_only_where_its_answer_says(realm: Realm) -> None:
    async def body() -> None:
        async with realm.app(ASK) as client:
            handle = await client.start(ASK, None, id="r")
            async with realm.working(ASK) as worker:
                await stands(worker, "r", "wait")
            head = await client.runs.get("r")
            assert (head.status, head.owner, head.wake_at) == ("waiting", None, None)

            assert await handle.resume("wait", action="approve", output={"by": "ada"})
            async with realm.working(ASK):
                assert await handle.result() == {"by": "ada"}
            assert await committed(client, "r") == {"publish": 1}

    realm.run(body())


def test_08_a_second_resume_changes_nothing(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(ASK) as app:
            handle = await app.start(ASK, None, id="r")
            await stands(app, "r", "wait")
            assert await handle.resume("wait", action="approve")
            assert not await handle.resume("wait", action="approve")
            with pytest.raises(RunConflictError):
                await handle.resume("wait", action="reject")
            await handle.result()
            assert not await handle.resume("wait", action="approve")
            assert await committed(app, "r") == {"publish": 1}

    realm.run(body())


def test_08_two_waits_are_resumed_separately(realm: Realm) -> None:
    flow = edges(nodes(Blueprint("two").wait("v").wait("w"), echo, ["a", "b"]), "v a", "w b")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, None, id="r")
            await stands(app, "r", "v", "w")
            await handle.resume("w", output=2)
            while await committed(app, "r") != {"b": 1}:
                await asyncio.sleep(1)
            assert (await app.runs.state("r")).waiting == ("v",)
            await handle.resume("v", output=1)
            assert await handle.result() == {"a": 1, "b": 2}

    realm.run(body())


EARLY = edges(
    nodes(Blueprint("early").sleep("nap", "1m").wait("sent", approval).wait("event", paid), echo, ["a", "b"]),
    "nap sent",
    "nap event",
    "sent a",
    "event b",
)


def test_08_what_comes_early_is_not_lost(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(EARLY) as app:
            handle = await app.start(EARLY, None, id="r")
            await handle.send(approval, {"by": "ada"})
            await app.publish(paid, {"sum": 7})
            assert await handle.result() == {"a": {"by": "ada"}, "b": {"sum": 7}}

    realm.run(body())


def test_08_an_answer_survives_a_death_at_every_write(realm: Realm) -> None:
    async def answer(app: Stepwell, handle: Handle[Any]) -> None:
        await stands(app, handle.id, "wait")
        await handle.resume("wait", action="reject", output="no")

    def check(value: Any) -> None:
        assert value == "no"

    found = realm.run(survives(realm, ASK, None, check, script=answer))

    assert all(counter == {"drop": 1} for counter in found)
