"""Scenarios with more of one thing than random ones have, for mistakes that need several rare things at once."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec import structs

from stepwell.testing.simulator.plans import (
    AWAY,
    SIGNALS,
    UP,
    Again,
    Away,
    Child,
    Collect,
    Do,
    Gather,
    Group,
    Limit,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Sleep,
    Try,
    Wait,
    random_away,
)
from stepwell.testing.simulator.scenarios import (
    Action,
    Crash,
    Cut,
    Drain,
    Fault,
    Flaky,
    Freeze,
    Ill,
    Jump,
    RunScript,
    Scenario,
    Settings,
    Slow,
    graph_script,
    poison_scenario,
    random_ill,
    random_scenario,
)

_WITHIN_MS = 60_000


def stormy(seed: int) -> Scenario:
    """Random runs, two workers, and something that goes wrong all the time."""
    choice = Random(f"stormy {seed}")
    scenario = random_scenario(seed)
    settings = structs.replace(
        scenario.settings,
        workers=2,
        lease_ms=6_000,
        poll_ms=2_500,
        cached_runs=choice.choice((0, 100)),
        latency_ms=choice.choice((20, 400)),
        skews_ms=(0, 0),
    )
    return structs.replace(scenario, settings=settings, faults=_storm(choice))


def paused(seed: int) -> Scenario:
    """Runs that are paused and resumed while their steps end and their workers die."""
    choice = Random(f"paused {seed}")
    plan = Seq(tuple(choice.choice((_STEPS, _RACE, _NOTES, Gather((_RACE, _STEPS)))) for _ in range(3)))
    kinds = ("pause", "resume", "pause", "resume", "signal", "cancel")
    return _played(seed, choice, plan, [(choice.choice(kinds), "ping") for _ in range(6)])


def generations(seed: int) -> Scenario:
    """Runs that continue as new with what they had before: children, notes, steps, mail."""
    choice = Random(f"generations {seed}")
    parts = [choice.choice((_CHILD, _LEFT, _NOTES, _STEPS, _WAIT, _RACE)) for _ in range(3)]
    plans: list[Plan] = []
    for _ in range(3):
        plans.append(Seq(tuple(parts)))
        if choice.random() < 0.5:
            choice.shuffle(parts)
    again = Seq((plans[0], Again(Seq((plans[1], Again(plans[2]))))))
    return _played(seed, choice, again, [("signal", choice.choice(("ping", "pong"))) for _ in range(3)])


def families(seed: int) -> Scenario:
    """Runs with children that fail, are told, left, abandoned, raced and cancelled with their parents."""
    choice = Random(f"families {seed}")

    def child() -> Plan:
        inner: Plan = Seq((choice.choice((Sleep(9_000), _WAIT, _STEPS)), Do("c", 50, choice.choice((0, 0, 3)))))
        return Child(inner, choice.choice(("await", "await", "cancel", "leave", "abandon", "tell")))

    parts: list[Plan] = [
        choice.choice((child(), Try(child()), Race((child(), Sleep(2_000))), Limit(2_000, child()))) for _ in range(3)
    ]
    kinds = ("cancel", "terminate", "signal", "signal", "pause", "resume")
    return _played(
        seed, choice, Seq(tuple(parts)), [(choice.choice(kinds), "") for _ in range(choice.choice((0, 1, 3)))]
    )


def groups(seed: int) -> Scenario:
    """Groups whose members clean up when one of them fails, or when the run is cancelled."""
    choice = Random(f"groups {seed}")

    def member() -> Plan:
        return choice.choice((Saga(Sleep(9_000), False), Saga(Do("a", 1_500), True), _STEPS, Wait("ping", 9_000)))

    members = tuple(member() for _ in range(4))
    plan = Seq((Do("a"), Group((*members, Do("c", 50, choice.choice((0, 3))))), _NOTES))
    kinds = ("cancel", "signal", "signal", "pause", "resume")
    return _played(seed, choice, Try(plan), [(choice.choice(kinds), "") for _ in range(3)])


def waiting(seed: int) -> Scenario:
    """Runs that wait for long, and get messages just when they park."""
    choice = Random(f"waiting {seed}")
    parts = (Sleep(900_000), Wait("ping", 900_000), Wait("ping"), Wait("news", 900_000), Do("a"), Wait("pong", 300))
    plan = Seq((Do("a"), *(choice.choice(parts) for _ in range(5))))
    kinds = ("signal", "signal", "signal", "publish", "cancel")
    scenario = _played(seed, choice, plan, [(choice.choice(kinds), "") for _ in range(6)])
    actions = tuple(structs.replace(action, at=action.at // 12) for action in scenario.runs[0].actions)
    settings = structs.replace(scenario.settings, latency_ms=400)
    return structs.replace(scenario, settings=settings, runs=(structs.replace(scenario.runs[0], actions=actions),))


def deadly(seed: int) -> Scenario:
    """A run whose steps kill their workers now and then, but that goes on."""
    choice = Random(f"deadly {seed}")
    plan = Seq(tuple(Do("a", choice.choice((0, 50)), kills=2) for _ in range(10)))
    return structs.replace(_played(seed, choice, plan, []), faults=())


def large(seed: int) -> Scenario:
    """Large results and chunks, while calls to the ports that keep them go wrong."""
    choice = Random(f"large {seed}")
    parts = (Do("a", 50, big=True), Child(Do("b", big=True), "await"), _NOTES, Wait("ping", 2_000))
    plan = Seq(tuple(choice.choice(parts) for _ in range(5)))
    scenario = _played(seed, choice, plan, [("signal", ""), ("restart", ""), ("cancel", "")])
    flaky = [
        Flaky(choice.randrange(20_000), 15_000, choice.choice(("before", "after", "late")), 0.3, port)
        for port in ("blobs", "streams", "blobs")
    ]
    return structs.replace(scenario, faults=(*scenario.faults, *flaky))


def restarted(seed: int) -> Scenario:
    """Runs that fail and are started again under their ids, retried and forked."""
    choice = Random(f"restarted {seed}")
    own = Wait("hook", 9_000, token="own")
    plan = Seq((_NOTES, choice.choice((own, _WAIT, Sleep(2_000))), _STEPS, Do("c", fails=choice.choice((0, 3)))))
    kinds = ("restart", "restart", "retry", "fork", "signal", "cancel", "terminate")
    return _played(seed, choice, plan, [(choice.choice(kinds), "") for _ in range(6)])


def quiet(seed: int) -> Scenario:
    """Nothing goes wrong, so nothing has a reason to be late: long steps that are given up, paused and stopped."""
    choice = Random(f"quiet {seed}")
    long = Gather((Do("a", 12_000), Do("b", 1_500), Sleep(300)))
    late = Seq((Do("b", choice.choice((3, 1_500))), Do("a", 12_000)))
    parts: tuple[Plan, ...] = (
        _RACE,
        long,
        late,
        Limit(2_000, long),
        Limit(choice.choice((300, 2_000)), late),
        Group((Do("a", 12_000), late, Do("c", 50, choice.choice((0, 3))))),
        Race((Wait("ping", 20_000), Do("a", 12_000), late)),
        Wait("ping", choice.choice((2_000, 45_000))),
        Sleep(choice.choice((2_000, 45_000))),
    )
    plan = Seq(tuple(Try(choice.choice(parts)) for _ in range(4)))
    kinds = ("pause", "resume", "signal", "signal", "cancel", "terminate")
    count = choice.choice((0, 1, 2, 4))
    actions = [_action(choice.choice(kinds), choice.randrange(_WITHIN_MS // 2)) for _ in range(count)]
    return _calm(seed, choice, plan, actions)


def sequential(seed: int) -> Scenario:
    """One thing at a time, with messages that come shortly before a timeout, or after it, or several at once."""
    choice = Random(f"sequential {seed}")
    waits = (Wait("ping", 300), Wait("ping", 2_000), Wait("ping", 9_000), Wait("pong", 2_000), Wait("ping"))
    others: tuple[Plan, ...] = (Sleep(300), Do("a", 50), Do("b", 1_500), Collect("ping", 2), Note("x"))
    plan = Seq((*(choice.choice((*waits, *waits, *others)) for _ in range(8)), Wait("ping"), Wait("pong", 9_000)))
    actions = [_action("signal", choice.randrange(20_000), choice.choice(SIGNALS)) for _ in range(8)]
    scenario = _calm(seed, choice, plan, [*actions, *(structs.replace(each, at=each.at + 1) for each in actions[:3])])
    freezes = tuple(Freeze(choice.randrange(2), choice.randrange(20_000), 3_000) for _ in range(choice.choice((0, 3))))
    return structs.replace(scenario, faults=freezes)


def zombies(seed: int) -> Scenario:
    """Workers stand still for longer than their leases last, are cut off, and go on as if nothing had been."""
    choice = Random(f"zombies {seed}")
    parts = (_STEPS, _NOTES, _WAIT, Do("a", 12_000, sends=3), Do("b", 1_500, sends=1), _RACE, _LEFT, _CHILD)
    plan = Seq(tuple(choice.choice(parts) for _ in range(5)))
    kinds = ("signal", "signal", "pause", "resume", "cancel")
    scenario = _played(seed, choice, plan, [(choice.choice(kinds), "") for _ in range(3)])
    faults: list[Fault] = []
    for _ in range(6):
        worker, at, ms = choice.randrange(2), choice.randrange(_WITHIN_MS), choice.choice((7_000, 15_000))
        slow = Slow(worker, at, ms, choice.choice((4_000, 9_000)))
        faults.append(choice.choice((Freeze(worker, at, ms), Cut(worker, at, ms, choice.random() < 0.7), slow)))
    flaky = Flaky(0, _WITHIN_MS, choice.choice(("late", "twice", "after")), 0.2)
    return structs.replace(scenario, faults=(*faults, flaky))


def deploys(seed: int) -> Scenario:
    """Workers are stopped and started again all the time, and nothing else goes wrong."""
    choice = Random(f"deploys {seed}")
    parts = (Sleep(2_000), Sleep(9_000), Sleep(900_000), Wait("ping", 20_000), _STEPS, _RACE, _NOTES)
    plan = Seq(tuple(choice.choice(parts) for _ in range(6)))
    kinds = ("signal", "signal", "pause", "resume")
    actions = [_action(choice.choice(kinds), choice.randrange(_WITHIN_MS)) for _ in range(3)]
    drains = tuple(Drain(choice.randrange(2), choice.randrange(_WITHIN_MS)) for _ in range(8))
    return structs.replace(_calm(seed, choice, plan, actions), faults=drains)


def relatives(seed: int) -> Scenario:
    """Children that are told, cancelled and left, in several generations, while workers die in the midst of it."""
    choice = Random(f"relatives {seed}")
    long = Seq((Wait("ping", 20_000), Wait("ping", 20_000), Sleep(900_000)))
    short = Seq((Wait("ping", 9_000), Wait("ping", 9_000)))

    def child() -> Plan:
        hows = ("tell", "cancel", "leave")
        one = Child(choice.choice((long, short)), choice.choice(hows))
        return Child(short, "tell") if one.how == "tell" else one

    plans = [Seq((child(), Do("a", choice.choice((3, 1_500))), child())) for _ in range(2)]
    plan = Seq((plans[0], Again(Seq((plans[1], Do("b", 50))))))
    scenario = _played(seed, choice, choice.choice((plan, plans[0])), [])
    hows = ("before", "after", "after", "late", "dies", "dies")
    flaky = tuple(Flaky(0, 20_000, choice.choice(hows), 0.2, "store") for _ in range(2))
    crashes = tuple(Crash(choice.randrange(2), choice.randrange(4_000), choice.randrange(40), 1) for _ in range(3))
    return structs.replace(scenario, faults=(*flaky, *crashes))


def crowds(seed: int) -> Scenario:
    """Several runs at once, whose tokens are the same, and clients that start them and write to them in doubt."""
    choice = Random(f"crowds {seed}")
    hooks = (Wait("hook", None, "shared"), Wait("hook", 9_000, "shared"), Wait("hook", 2_000, "own"))
    news = Wait("news", 9_000)
    parts = (*hooks, news, Wait("ping", 9_000), Do("a", 50, big=True), Do("b"), _NOTES, _STEPS)
    kinds = ("signal", "signal", "large signal", "publish", "publish", "attach", "restart", "shared hook", "hook")

    def script(number: int) -> RunScript:
        plan = Seq(tuple(choice.choice(parts) for _ in range(4)))
        actions = [_action(choice.choice(kinds), choice.randrange(20_000)) for _ in range(5)]
        at = choice.choice((0, 0, 3_000))
        return RunScript(f"r{number}", at, plan, tuple(sorted(actions, key=lambda action: action.at)))

    scenario = stormy(seed)
    settings = structs.replace(scenario.settings, concurrency=20, latency_ms=400)
    hows = ("before", "after", "late", "twice")
    flaky = [
        Flaky(choice.randrange(20_000), 15_000, choice.choice(hows), 0.3, choice.choice(("store", "streams", "blobs")))
        for _ in range(4)
    ]
    # A process that dies while it publishes makes two events of one: that is allowed, so nobody dies meanwhile.
    storm = [
        structs.replace(fault, at=fault.at + 60_000) if isinstance(fault, Crash) else fault
        for fault in scenario.faults
        if not isinstance(fault, Flaky)
    ]
    return structs.replace(
        scenario, settings=settings, runs=tuple(script(number) for number in range(4)), faults=(*flaky, *storm)
    )


def hasty(seed: int) -> Scenario:
    """Runs and generations that end while their children are still to be created, told and cancelled."""
    choice = Random(f"hasty {seed}")
    long = Seq((Wait("ping", 20_000), Sleep(900_000)))

    def race() -> Plan:
        children = [Child(long, choice.choice(("leave", "leave", "await", "cancel"))) for _ in range(2)]
        return Race((*children, choice.choice((Do("b"), Do("b", 50), Sleep(0), Sleep(300)))))

    plan = choice.choice((race(), Seq((race(), Again(race())))))
    scenario = _played(seed, choice, plan, [(choice.choice(("cancel", "terminate", "signal")), "")])
    hows = ("before", "after", "late", "dies")
    flaky = tuple(Flaky(0, 20_000, choice.choice(hows), 0.3, "store") for _ in range(2))
    crashes = tuple(Crash(choice.randrange(2), choice.randrange(6_000), choice.randrange(40), 1) for _ in range(2))
    return structs.replace(scenario, faults=(*flaky, *crashes))


def writers(seed: int) -> Scenario:
    """Chunks of bodies and steps, in several generations, when their runs are paused and change hands."""
    choice = Random(f"writers {seed}")
    parts = (_NOTES, _NOTES, Do("a", 50, sends=3), Sleep(300), Do("b", 1_500), Wait("ping", 2_000))
    plans = [Seq(tuple(choice.choice(parts) for _ in range(3))) for _ in range(3)]
    plan = choice.choice((Seq((plans[0], Again(Seq((plans[1], Again(plans[2])))))), Seq(tuple(plans))))
    kinds = ("pause", "resume", "pause", "resume", "signal")
    scenario = _played(seed, choice, plan, [])
    actions = sorted((_action(choice.choice(kinds), choice.randrange(15_000)) for _ in range(6)), key=lambda a: a.at)
    hows = ("before", "after", "late", "twice")
    faults: list[Fault] = [Flaky(0, 30_000, choice.choice(hows), 0.3, "streams") for _ in range(2)]
    for _ in range(5):
        worker, at = choice.randrange(2), choice.randrange(15_000)
        turns = choice.choice((0, 3, 10, 40))
        faults.append(choice.choice((Crash(worker, at, turns, 1), Freeze(worker, at, 7_000), Drain(worker, at))))
    runs = (structs.replace(scenario.runs[0], actions=tuple(actions)),)
    return structs.replace(scenario, runs=runs, faults=tuple(faults))


def clocks(seed: int) -> Scenario:
    """Clocks that are far apart, and that jump, while runs sleep and retry."""
    choice = Random(f"clocks {seed}")
    parts = (Sleep(300), Sleep(9_000), Sleep(45_000), Wait("ping", 9_000), Do("a", 50, 2), Do("b", 1_500))
    plan = Seq(tuple(choice.choice(parts) for _ in range(5)))
    scenario = _calm(seed, choice, plan, [_action("signal", choice.randrange(_WITHIN_MS)) for _ in range(3)])
    skews = tuple(choice.choice((-1, 1)) * choice.choice((300, 8_000, 60_000)) for _ in range(2))
    settings = structs.replace(scenario.settings, skews_ms=skews, cached_runs=0)
    jumps = tuple(
        Jump(choice.randrange(2), choice.randrange(_WITHIN_MS), choice.choice((-60_000, -3_000, 3_000, 60_000)))
        for _ in range(choice.choice((0, 2)))
    )
    return structs.replace(scenario, settings=settings, faults=jumps)


def undoing(seed: int) -> Scenario:
    """Sagas that take their time to undo everything when their run is cancelled, or all at once in a group."""
    choice = Random(f"undoing {seed}")
    deep: Plan = Sleep(900_000)
    for _ in range(50):
        deep = Saga(deep, False)
    group = Group((*(Saga(Sleep(45_000), False) for _ in range(5)), Do("c", 3, 3)))
    cancels = [Action(choice.randrange(30_000, _WITHIN_MS), "cancel", choice.choice(("0", "500")))]
    plan = choice.choice((deep, group))
    scenario = _calm(seed, choice, Try(plan), cancels if plan is deep else [])
    return structs.replace(scenario, settings=structs.replace(scenario.settings, latency_ms=400, poll_ms=2_500))


def news(seed: int) -> Scenario:
    """Events that are published in doubt before their runs come to wait for them."""
    choice = Random(f"news {seed}")
    plan = Seq((Do("a", 12_000), *(Wait("news", choice.choice((300, 9_000))) for _ in range(6))))
    actions = [_action("publish", choice.randrange(choice.choice((10_000, 40_000)))) for _ in range(4)]
    hows = ("before", "after", "twice", "late")
    flaky = tuple(Flaky(0, 40_000, choice.choice(hows), 0.3, port) for port in ("streams", "store"))
    return structs.replace(_calm(seed, choice, plan, actions), faults=flaky)


_STEPS = Gather((Do("a", 1_500), Do("b", 50), Do("a", 3)))
_RACE = Race((Do("a", 12_000), Do("b", 50), Sleep(300)))
_NOTES = Seq((Note("x"), Do("a"), Note("x"), Note("y")))
_WAIT = Limit(9_000, Wait("ping"))
_CHILD = Child(Seq((Note("x"), Do("a", 300))), "await")
_LEFT = Child(Seq((Sleep(9_000), Do("a"))), "leave")


def _played(seed: int, choice: Random, plan: Plan, actions: list[tuple[str, str]]) -> Scenario:
    done = [Action(choice.randrange(_WITHIN_MS), kind, detail if kind == "signal" else "") for kind, detail in actions]
    done = [structs.replace(action, detail="ping") if action.kind == "signal" else action for action in done]
    script = RunScript("r0", 0, plan, tuple(sorted(done, key=lambda action: action.at)))
    return structs.replace(stormy(seed), runs=(script,), faults=_storm(choice))


def _calm(seed: int, choice: Random, plan: Plan, actions: list[Action]) -> Scenario:
    """That, and no faults."""
    script = RunScript("r0", 0, plan, tuple(sorted(actions, key=lambda action: action.at)))
    settings = Settings(
        lease_ms=choice.choice((6_000, 30_000)),
        poll_ms=choice.choice((2_500, 9_000)),
        cached_runs=choice.choice((0, 100)),
        latency_ms=choice.choice((0, 20, 400)),
    )
    return Scenario(seed=seed, settings=settings, runs=(script,))


def _action(kind: str, at: int, name: str = "ping") -> Action:
    return Action(at, kind, name if kind.endswith("signal") else "")


def _storm(choice: Random) -> tuple[Fault, ...]:
    return tuple(_fault(choice, choice.randrange(_WITHIN_MS)) for _ in range(choice.choice((2, 5, 9))))


def _fault(choice: Random, at: int) -> Fault:
    worker, ms = choice.randrange(2), choice.choice((200, 3_000, 15_000))
    match choice.choice(("crash", "crash", "freeze", "freeze", "flaky")):
        case "crash":
            return Crash(worker, at, choice.choice((0, 1, 3, 10, 40)), choice.choice((1, 2_000, 20_000)))
        case "freeze":
            return Freeze(worker, at, ms)
        case _:
            return Flaky(at, ms, choice.choice(("before", "after", "twice", "late", "dies")), choice.choice((0.1, 0.3)))


def graphs(seed: int) -> Scenario:
    """Blueprints whose nodes take time, and nothing else; many of them with something that goes wrong."""
    choice = Random(f"graphs weather {seed}")
    scenario = random_scenario(seed)
    runs = tuple(structs.replace(graph_script(choice, script), at=0, delay_ms=0) for script in scenario.runs)
    runs = tuple(structs.replace(script, plan=structs.replace(script.plan, slow=True)) for script in runs)
    settings = structs.replace(scenario.settings, concurrency=20)
    return structs.replace(scenario, settings=settings, runs=runs)


def elsewhere(seed: int) -> Scenario:
    """Bodies elsewhere, whose worker is ill all the time, and which clients write to, cancel, pause and fork."""
    choice = Random(f"elsewhere {seed}")
    kinds = ("signal",) * 4 + ("publish", "hook", "cancel", "pause", "resume", "fork", "retry")
    count = choice.choice((1, 2, 4, 8))
    actions = [_action(choice.choice(kinds), choice.randrange(choice.choice((3_000, 30_000)))) for _ in range(count)]
    scenario = _calm(seed, choice, random_away(choice, 4), actions)
    runs = (structs.replace(scenario.runs[0], workflow=AWAY),)
    ills = [random_ill(choice) for _ in range(choice.choice((0, 1, 3)))]
    storm = _storm(choice) if choice.random() < 0.5 else ()
    return structs.replace(scenario, runs=runs, faults=(*ills, *storm))


def talkative(seed: int) -> Scenario:
    """A body elsewhere that does one thing at a time, while messages come; many of them while it runs."""
    choice = Random(f"talkative {seed}")
    waits = (Wait("ping", 2_000), Wait("ping", 9_000), Wait("pong", 2_000), Wait("ping"), Wait("news", 9_000))
    others: tuple[Plan, ...] = (
        Do("a", 1_500, sends=choice.choice((0, 2))),
        Do("b", 1_500, fails=choice.choice((0, 1))),
        Sleep(300),
        Note("x"),
        Collect("ping", 2),
        Gather((Wait("pong", 9_000), Do("a", 1_500), Sleep(2_000))),
        Child(Do("a", 50), choice.choice(("await", "abandon"))),
        Gather((Child(Do("a"), "abandon"), Sleep(1), Wait("ping", 2_000))),
        Away(Seq((Note(UP, "parent"), Do("a", sends=1), Sleep(300), Note(UP, "parent")))),
    )
    plan = Seq((*(choice.choice((*waits, *others)) for _ in range(7)), Wait("ping"), Wait("pong", 9_000)))
    actions = [_action("signal", choice.randrange(20_000), choice.choice(SIGNALS)) for _ in range(8)]
    scenario = _calm(seed, choice, plan, actions)
    ills = [random_ill(choice) for _ in range(choice.choice((0, 0, 2)))]
    runs = (structs.replace(scenario.runs[0], workflow=AWAY),)
    return structs.replace(scenario, runs=runs, faults=tuple(ills))


def far(seed: int) -> Scenario:
    """Steps elsewhere that send chunks, while connections break, the streams fail, and workers here die."""
    choice = Random(f"far {seed}")
    parts = (Do("a", 1_500, sends=3), Do("b", 50, sends=1), Gather((Do("c", 12_000), Do("a", 300))), Sleep(300))
    plan = Seq(tuple(choice.choice(parts) for _ in range(6)))
    cancels = [_action("cancel", choice.randrange(20_000))] if choice.random() < 0.4 else []
    scenario = _calm(seed, choice, plan, cancels)
    runs = (structs.replace(scenario.runs[0], workflow=AWAY),)
    ills = tuple(Ill(0, _WITHIN_MS, choice.choice(("breaks", "dies", "rubbish")), 0.5) for _ in range(2))
    slow = Flaky(0, _WITHIN_MS, choice.choice(("before", "after")), 0.5, "streams")
    crashes = [
        Crash(choice.randrange(2), choice.randrange(_WITHIN_MS // 2), choice.choice((0, 1, 3, 10, 40)), 1)
        for _ in range(8)
    ]
    settings = structs.replace(scenario.settings, latency_ms=400)
    return structs.replace(scenario, settings=settings, runs=runs, faults=(*ills, slow, *crashes))


WEATHERS: dict[str, Callable[[int], Scenario]] = {
    "random": random_scenario,
    "stormy": stormy,
    "paused": paused,
    "generations": generations,
    "families": families,
    "groups": groups,
    "restarted": restarted,
    "large": large,
    "waiting": waiting,
    "deadly": deadly,
    "poison": poison_scenario,
    "quiet": quiet,
    "sequential": sequential,
    "zombies": zombies,
    "deploys": deploys,
    "relatives": relatives,
    "crowds": crowds,
    "hasty": hasty,
    "writers": writers,
    "clocks": clocks,
    "undoing": undoing,
    "news": news,
    "graphs": graphs,
    "elsewhere": elsewhere,
    "talkative": talkative,
    "far": far,
}
