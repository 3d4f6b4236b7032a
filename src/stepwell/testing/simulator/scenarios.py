"""A scenario: everything that happens in one simulation, as data. A seed makes one; shrinking makes it smaller."""

from __future__ import annotations

from random import Random

from msgspec import Struct, structs

from stepwell.testing.simulator.plans import (
    AWAY,
    GRAPH,
    SIGNALS,
    Away,
    Do,
    Graph,
    Note,
    Plan,
    Seq,
    random_away,
    random_root,
)

FAULTY_MS = 90_000
"""Faults begin within this time, and have ended soon after it."""
ANSWERS = ("", "", "", "twice", "rivals", "other", "anybody")
"""How nodes that wait are answered: see `answers.answer`."""

ILLNESSES = ("refuses", "hangs", "mute", "breaks", "dies", "late", "late", "twice", "lies", "rubbish")
"""What a body elsewhere may suffer from: nobody takes the invocation; nothing is done and nothing said; all is done and
nothing said; the connection breaks in the middle; the process dies in the middle; the answer comes when the attempt has
been given up; the invocation arrives twice; waits are named that are over, or with other times, or twice; the answer
makes no sense."""

_SHARE = 0.28
_AWAY_SHARE = 0.25


class Crash(Struct, frozen=True, tag="crash"):
    """A worker's process dies `turns` callbacks after `at`, and another is started `down_ms` later."""

    worker: int
    at: int
    turns: int
    down_ms: int


class Drain(Struct, frozen=True, tag="drain"):
    """A worker is stopped as for a deploy: it parks what it holds, and another is started."""

    worker: int
    at: int


class Freeze(Struct, frozen=True, tag="freeze"):
    """A worker stands still, and then goes on as if nothing had been: a zombie if its leases have ended."""

    worker: int
    at: int
    ms: int


class Slow(Struct, frozen=True, tag="slow"):
    """All calls of a worker take up to `latency_ms` longer."""

    worker: int
    at: int
    ms: int
    latency_ms: int


class Cut(Struct, frozen=True, tag="cut"):
    """A worker does not reach the backend. If `answers_only`, its calls arrive, and only their answers are lost."""

    worker: int
    at: int
    ms: int
    answers_only: bool


class Flaky(Struct, frozen=True, tag="flaky"):
    """Of all calls, this share goes wrong: `how` is before (no effect), after (an effect, an error), twice, late (once
    more a while later), or dies (the process, right before or after the effect). `port` limits it to one port."""

    at: int
    ms: int
    how: str
    share: float
    port: str = ""


class Bells(Struct, frozen=True, tag="bells"):
    """Notices are lost, doubled or late, each this share of them."""

    at: int
    ms: int
    lost: float
    twice: float
    late: float


class Full(Struct, frozen=True, tag="full"):
    """No write takes effect: the disk is full."""

    at: int
    ms: int


class Jump(Struct, frozen=True, tag="jump"):
    """A worker's clock, or the backend's (-1), jumps. The backend's goes forward only."""

    worker: int
    at: int
    by_ms: int


class Ill(Struct, frozen=True, tag="ill"):
    """Of all invocations of bodies elsewhere, this share goes wrong. `how`: see `ILLNESSES`."""

    at: int
    ms: int
    how: str
    share: float


Fault = Crash | Drain | Freeze | Slow | Cut | Flaky | Bells | Full | Jump | Ill


class Action(Struct, frozen=True):
    """What a client does to a run at a time: signal, large signal, publish, cancel, terminate, pause, resume, fork,
    retry, attach (start it again), restart, delete, answer (a node that waits), or look. `detail` is the signal's name,
    the grace (ms) of a cancel, or how a node is answered."""

    at: int
    kind: str
    detail: str = ""


class RunScript(Struct, frozen=True):
    """A run that a client starts, and what clients do to it. Of the workflow "graph", the plan is a blueprint."""

    id: str
    at: int
    plan: Plan
    actions: tuple[Action, ...] = ()
    workflow: str = "play"
    delay_ms: int = 0


class Settings(Struct, frozen=True, kw_only=True):
    """What is the same all the time. `latency_ms`: how long a call may take. `skews_ms`: how far each worker's clock is
    off. The `ignorant` worker has no code for the workflow "insist". `wired`: the product's own dispatcher asks bodies
    elsewhere, in bytes."""

    workers: int = 2
    lease_ms: int = 10_000
    poll_ms: int = 4_000
    cached_runs: int = 0
    concurrency: int = 20
    latency_ms: int = 20
    skews_ms: tuple[int, ...] = (0, 0, 0)
    ignorant: int = -1
    wired: bool = False


class Scenario(Struct, frozen=True, kw_only=True):
    """One simulation. Chance that is not written down here comes from `seed`."""

    seed: int
    settings: Settings
    runs: tuple[RunScript, ...]
    faults: tuple[Fault, ...] = ()


def random_scenario(seed: int) -> Scenario:
    """The scenario of a seed. In some of them, blueprints take the place of runs, or are children of them; in others,
    runs whose bodies are elsewhere."""
    scenario = plain_scenario(seed)
    choice = Random(f"graphs {seed}")
    if choice.random() > _SHARE:
        return away_scenario(scenario) if Random(f"away {seed}").random() < _AWAY_SHARE else scenario
    runs = tuple(_with_graph(choice, script) for script in scenario.runs)
    return structs.replace(scenario, runs=runs)


def away_scenario(scenario: Scenario) -> Scenario:
    """The same with bodies elsewhere, and what goes wrong there."""
    choice = Random(f"bodies elsewhere {scenario.seed}")
    runs = tuple(_with_away(choice, script) for script in scenario.runs)
    ills = tuple(random_ill(choice) for _ in range(choice.choice((0, 1, 2, 4))))
    settings = structs.replace(scenario.settings, wired=choice.random() < 0.5)
    return structs.replace(scenario, settings=settings, runs=runs, faults=(*scenario.faults, *ills))


def _with_away(choice: Random, script: RunScript) -> RunScript:
    if choice.random() < 0.25:
        return structs.replace(script, plan=Seq((Away(random_away(choice, 2, is_child=True)), script.plan)))
    actions = tuple(structs.replace(action, at=action.at // choice.choice((1, 3, 10))) for action in script.actions)
    actions = tuple(sorted(actions, key=lambda action: action.at))
    return structs.replace(script, plan=random_away(choice), workflow=AWAY, actions=actions)


def random_ill(choice: Random) -> Ill:
    """Something that goes wrong elsewhere."""
    at = choice.randrange(choice.choice((2_000, 20_000, FAULTY_MS)))
    return Ill(at, choice.choice((3_000, 15_000, 60_000)), choice.choice(ILLNESSES), choice.choice((0.2, 0.5, 1.0)))


def _with_graph(choice: Random, script: RunScript) -> RunScript:
    if choice.random() < 0.2:
        return structs.replace(script, plan=Seq((random_graph(choice), script.plan)))
    return graph_script(choice, script)


def graph_script(choice: Random, script: RunScript) -> RunScript:
    """A blueprint in the place of a run."""
    count = choice.choice((0, 1, 2, 4, 8))
    actions = sorted((_graph_action(choice) for _ in range(count)), key=lambda item: item.at)
    return structs.replace(script, plan=random_graph(choice), workflow=GRAPH, actions=tuple(actions))


def random_graph(choice: Random) -> Graph:
    """Some blueprint."""
    size = choice.choice((1, 2, 3, 5, 8, 12, 20, 30))
    return Graph(choice.randrange(1_000_000), size, slow=choice.random() < 0.6, kills=choice.random() < 0.3)


def _graph_action(choice: Random) -> Action:
    kinds = ("answer",) * 8 + ("pause", "resume", "cancel", "terminate", "attach", "fork", "retry", "look")
    kind = choice.choice((*kinds, "restart", "delete"))
    detail = choice.choice(ANSWERS) if kind == "answer" else ""
    return Action(choice.randrange(choice.choice((600, 2_000, 20_000, FAULTY_MS))), kind, detail)


def plain_scenario(seed: int) -> Scenario:
    """That of a seed without blueprints."""
    choice = Random(f"scenario {seed}")
    workers = choice.choice((1, 2, 2, 3))
    return Scenario(
        seed=seed,
        settings=Settings(
            workers=workers,
            lease_ms=choice.choice((6_000, 10_000, 30_000)),
            poll_ms=choice.choice((2_500, 4_000, 9_000)),
            cached_runs=choice.choice((0, 2, 100)),
            concurrency=choice.choice((1, 3, 20)),
            latency_ms=choice.choice((0, 5, 20, 400)),
            skews_ms=tuple(_skew(choice) for _ in range(workers)),
            ignorant=choice.choice((-1, -1, 0)) if workers > 1 else -1,
        ),
        runs=tuple(_script(choice, f"r{n}") for n in range(choice.choice((1, 1, 2, 3)))),
        faults=tuple(_fault(choice, workers) for _ in range(choice.choice((0, 1, 2, 3, 4, 6, 15)))),
    )


def _skew(choice: Random) -> int:
    return choice.choice((0, 0, 0, choice.randint(-500, 500), choice.randint(-8_000, 8_000)))


def _script(choice: Random, id: str) -> RunScript:
    plan = random_root(choice) if choice.random() > 0.01 else Do("a", kills=1_000)
    actions = [_action(choice) for _ in range(choice.choice((0, 1, 2, 2, 4, 6)))]
    workflow = "insist" if choice.random() < 0.1 else "play"
    at = choice.choice((0, 0, 500, 30_000))
    delay_ms = choice.choice((0,) * 9 + (30_000,))
    return RunScript(id, at, plan, tuple(sorted(actions, key=lambda item: item.at)), workflow, delay_ms)


def _action(choice: Random) -> Action:
    kinds = (
        ("signal",) * 5
        + ("large signal",)
        + ("publish", "hook", "pause", "resume", "cancel", "terminate", "attach", "fork", "retry")
    )
    kind = choice.choice((*kinds, "look", "restart", "delete", "shared hook"))
    detail = ""
    if kind in ("signal", "large signal"):
        detail = choice.choice(SIGNALS)
    elif kind == "cancel":
        detail = choice.choice(("", "", "0", "5000"))
    return Action(choice.randrange(FAULTY_MS), kind, detail)


def _fault(choice: Random, workers: int) -> Fault:
    at, ms = choice.randrange(FAULTY_MS), choice.choice((200, 3_000, 15_000, 40_000))
    worker = choice.randrange(workers)
    match choice.choice(
        ("crash",) * 5 + ("freeze",) * 3 + ("slow", "cut", "cut", "bells", "full", "jump", "drain") + ("flaky",) * 5
    ):
        case "crash":
            return Crash(worker, at, choice.choice((0, 1, 3, 10, 40)), choice.choice((1, 2_000, 20_000)))
        case "drain":
            return Drain(worker, at)
        case "freeze":
            return Freeze(worker, at, ms)
        case "slow":
            return Slow(worker, at, ms, choice.choice((500, 4_000)))
        case "cut":
            return Cut(worker, at, ms, choice.random() < 0.5)
        case "bells":
            return Bells(at, ms, choice.random(), choice.random() / 2, choice.random())
        case "full":
            return Full(at, ms)
        case "jump":
            ahead = choice.choice((3_000, 60_000, 3_600_000))
            return Jump(worker, at, choice.choice((ahead, -ahead))) if choice.random() < 0.7 else Jump(-1, at, ahead)
        case _:
            how = choice.choice(("before", "after", "after", "twice", "late", "dies", "dies"))
            port = choice.choice(("", "", "store", "store", "streams", "blobs"))
            return Flaky(at, ms, how, choice.choice((0.02, 0.1, 0.3)), port)


def poison_scenario(seed: int) -> Scenario:
    """A run that kills its worker each time, beside one that does not."""
    bad = RunScript("bad", 0, Seq((Note("x"), Do("a", kills=1_000))))
    good = RunScript("good", 0, Seq((Do("b"), Do("c"))))
    return Scenario(seed=seed, settings=Settings(workers=2), runs=(bad, good))
