"""Workflows as data: what a simulated run is told to do.

A plan is a tree of operations, which `playing` carries out and `oracle` judges. What random plans look like is decided
here: every shape of the authoring API, waits that race timers, and steps that fail, crash and come late.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec import Struct, structs

SIGNALS = ("ping", "pong")
EVENT = "news"
GRAPH = "graph"
"""The workflow of runs that are blueprints."""
AWAY = "away"
"""The workflow of runs whose body is carried out elsewhere."""


class Do(Struct, frozen=True, tag="do", omit_defaults=True):
    """A step: takes `ms`, fails in its first `fails` attempts of 3 (-1: by chance), and kills its process in its first
    `kills` executions. A `big` result is kept outside of the frame. It sends so many chunks to a stream; an attempt may
    last `limit_ms`."""

    label: str
    ms: int = 0
    fails: int = 0
    kills: int = 0
    big: bool = False
    sends: int = 0
    limit_ms: int = 0


class Sleep(Struct, frozen=True, tag="sleep"):
    """A durable timer."""

    ms: int


class Seq(Struct, frozen=True, tag="seq"):
    """One after another."""

    plans: tuple[Plan, ...]


class Gather(Struct, frozen=True, tag="gather"):
    """All at once; the first failure is raised, the others go on."""

    plans: tuple[Plan, ...]


class Group(Struct, frozen=True, tag="group"):
    """A TaskGroup: the first failure cancels the others."""

    plans: tuple[Plan, ...]


class Race(Struct, frozen=True, tag="race"):
    """The first to finish counts; the others are cancelled."""

    plans: tuple[Plan, ...]


class Map(Struct, frozen=True, tag="map", omit_defaults=True):
    """`ctx.map` over so many steps, or child runs."""

    count: int
    concurrency: int
    children: bool = False


class Shield(Struct, frozen=True, tag="shield"):
    """`asyncio.shield` around a plan."""

    plan: Plan


class Collect(Struct, frozen=True, tag="collect"):
    """Takes the first `count` of all signals of that name."""

    source: str
    count: int


class Limit(Struct, frozen=True, tag="limit"):
    """`asyncio.timeout` around a plan."""

    ms: int
    plan: Plan


class Try(Struct, frozen=True, tag="try"):
    """Catches what the plan raises."""

    plan: Plan


class Saga(Struct, frozen=True, tag="saga"):
    """Books, carries out the plan, books again; undoes its bookings if it fails."""

    plan: Plan
    fails: bool


class Wait(Struct, frozen=True, tag="wait", omit_defaults=True):
    """Receive a signal, an event ("news") or, for "hook", whatever completes a hook; `ms` is the timeout. A hook's
    token is made up, or the run's "own", or one that is "shared" by all runs, and may be held by another."""

    source: str
    ms: int | None = None
    token: str = ""


class Child(Struct, frozen=True, tag="child"):
    """A child run: `await` it; start and `cancel` it; `leave` it to be cancelled with this run; `abandon` it;
    `tell` it a ping and await it."""

    plan: Plan
    how: str


class Note(Struct, frozen=True, tag="note", omit_defaults=True):
    """Counts in the metadata, sends a chunk to the stream, asks for random numbers and for a patch. Elsewhere it only
    counts: in the run's own metadata, or in that of its "parent" or "root"."""

    key: str
    to: str = ""


class Again(Struct, frozen=True, tag="again"):
    """`continue_as_new` with another plan. Only as the last operation of a run."""

    plan: Plan


class Graph(Struct, frozen=True, tag="graph", omit_defaults=True):
    """A random blueprint of about `size` nodes: the whole of a run of the workflow "graph", else a child run that is
    awaited. If it is `slow`, its nodes take time; if it `kills`, some of them kill their process the first time."""

    seed: int
    size: int
    slow: bool = False
    kills: bool = False


class Away(Struct, frozen=True, tag="away"):
    """A child run of the workflow "away", which is awaited."""

    plan: Plan


Plan = (
    Do
    | Sleep
    | Seq
    | Gather
    | Group
    | Race
    | Map
    | Limit
    | Try
    | Shield
    | Saga
    | Wait
    | Collect
    | Child
    | Note
    | Again
    | Graph
    | Away
)

_LEAVES = ("do", "do", "do", "do", "sleep", "wait", "wait", "map", "note")
_BRANCHES = ("seq", "seq", "seq", "gather", "group", "race", "limit", "saga", "try", "child", "shield")
_SEVERAL: dict[str, Callable[[tuple[Plan, ...]], Plan]] = {"seq": Seq, "gather": Gather, "group": Group, "race": Race}
_TIMES = (0, 1, 7, 40, 300, 2_000, 9_000, 20_000, 45_000, 45_000, 900_000)


def random_plan(choice: Random, depth: int = 3, *, is_child: bool = False) -> Plan:
    """A plan of at most that depth. A child has no wait that only a client can end."""
    kind = choice.choice(_BRANCHES if choice.random() < depth / 4 else _LEAVES)
    if kind in _LEAVES:
        return _leaf(kind, choice, is_child=is_child)
    if kind == "child":
        how = choice.choice(("await", "await", "await", "cancel", "leave", "abandon", "tell"))
        plan = random_plan(choice, depth - 2, is_child=True)
        return Child(_with_generations(plan, choice, is_child=True), how)

    def one() -> Plan:
        return random_plan(choice, depth - 1, is_child=is_child)

    match kind:
        case "limit":
            return Limit(choice.choice(_TIMES), one())
        case "try":
            return Try(one())
        case "shield":
            return Shield(one())
        case "saga":
            return Saga(one(), choice.random() < 0.5)
        case _:
            return _SEVERAL[kind](tuple(one() for _ in range(choice.randint(1, 4))))


_AWAY_LEAVES = ("do", "do", "do", "do", "sleep", "wait", "wait", "note", "note")
_AWAY_BRANCHES = ("seq", "seq", "seq", "seq", "gather", "gather", "race", "limit", "saga", "try", "child", "away")
UP = "up"
"""The key under which runs elsewhere count above themselves."""


def random_away(choice: Random, depth: int = 3, *, is_child: bool = False) -> Plan:
    """A plan for a body elsewhere: it knows no tasks that can be cancelled, no generations, no hooks of its choice."""
    kind = choice.choice(_AWAY_BRANCHES if choice.random() < depth / 3.5 else _AWAY_LEAVES)

    def one() -> Plan:
        return random_away(choice, depth - 1, is_child=is_child)

    match kind:
        case "child":
            plan = random_plan(choice, depth - 2, is_child=True)
            return Child(plan, choice.choice(("await", "await", "await", "abandon")))
        case "away":
            return Away(random_away(choice, depth - 1, is_child=True))
        case "limit":
            return Limit(choice.choice(_TIMES), one())
        case "try":
            return Try(one())
        case "saga":
            return Saga(one(), choice.random() < 0.5)
        case "note":
            to = choice.choice(("", "", "parent", "root"))
            return Note(UP if to else choice.choice("xy"), to)
        case _ if kind in _SEVERAL:
            return _SEVERAL[kind](tuple(one() for _ in range(choice.randint(1, 4))))
        case _:
            return away_leaf(_leaf(kind, choice, is_child=is_child))


def away_leaf(plan: Plan) -> Plan:
    """The same as far as a body elsewhere can do it."""
    match plan:
        case Do():
            return structs.replace(plan, limit_ms=0)
        case Wait():
            return structs.replace(plan, token="")
        case _:
            return plan


def random_root(choice: Random) -> Plan:
    """The plan of a run that a client starts."""
    return _with_generations(random_plan(choice), choice, is_child=False)


def _with_generations(plan: Plan, choice: Random, *, is_child: bool) -> Plan:
    """Often one generation; else several, of the same plan or of others: each has the same commands, or not."""
    whole = plan
    for _ in range(choice.choice((0,) * 7 + (1, 1, 2))):
        another = plan if choice.random() < 0.5 else random_plan(choice, 2, is_child=is_child)
        whole = Seq((another, Again(whole)))
    return whole


def _leaf(kind: str, choice: Random, *, is_child: bool) -> Plan:
    match kind:
        case "sleep":
            return Sleep(choice.choice(_TIMES))
        case "wait":
            return _wait(choice, is_child=is_child)
        case "map":
            return Map(choice.randrange(4), choice.randint(1, 3), children=choice.random() < 0.2)
        case "note":
            return Note(choice.choice("xy"))
        case _:
            return _step(choice)


def _wait(choice: Random, *, is_child: bool) -> Plan:
    source = choice.choice((*SIGNALS, *SIGNALS, EVENT, "hook"))
    if not is_child and source in SIGNALS and choice.random() < 0.1:
        return Collect(source, choice.randint(1, 3))
    is_bounded = is_child or choice.random() < 0.6
    ms = choice.choice(_TIMES[2:]) if is_bounded else None
    if source != "hook":
        return Wait(source, ms)
    return Wait(source, ms, token=choice.choice(("", "", "own", "shared")))


def _step(choice: Random) -> Do:
    return Do(
        choice.choice("abc"),
        choice.choice((0, 0, 0, 3, 50, 1_500, 12_000)),
        choice.choice((0, 0, 0, 0, 0, 0, 1, 2, 3, -1)),
        choice.choice((0,) * 24 + (1, 2)),
        big=choice.random() < 0.03,
        sends=choice.choice((0,) * 10 + (1, 3)),
        limit_ms=choice.choice((0,) * 12 + (1_000,)),
    )
