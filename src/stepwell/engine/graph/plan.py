"""A blueprint prepared for running: who follows whom, which loop a node is in, expressions compiled.

Made once per blueprint and shared by all of its runs. Everything here is constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from stepwell.engine.expressions import Expression, compile_expression
from stepwell.engine.graph.analysis import analyze, loop_bodies
from stepwell.engine.graph.outcome import Bind, Binding
from stepwell.errors import BlueprintError, ExpressionError
from stepwell.model.blueprints import BuiltIn, Edge, Graph, Node

MAX_ITERATIONS = 10_000
CONCURRENCY = 1_000


class Kind(IntEnum):
    """What a node does when it is visited."""

    WORK = 0
    PASS = 1
    SET = 2
    ERROR = 3
    WAIT = 4
    SLEEP = 5
    WEBHOOK = 6
    SUBFLOW = 7
    SCATTER = 8
    GATHER = 9
    LOOP = 10


_KINDS: dict[BuiltIn, Kind] = {
    "wait": Kind.WAIT,
    "sleep": Kind.SLEEP,
    "webhook": Kind.WEBHOOK,
    "subflow": Kind.SUBFLOW,
    "batch-scatter": Kind.SCATTER,
    "batch-gather": Kind.GATHER,
    "loop-controller": Kind.LOOP,
    "set": Kind.SET,
    "start": Kind.PASS,
    "join": Kind.PASS,
    "error": Kind.ERROR,
}
_CODES = str.maketrans({sign: f"%{ord(sign):02X}" for sign in "%:[]/~"})


class Region:
    """The root of a blueprint, or the body of one of its loops. `entries` are the edges into it from outside,
    `exits` those out of it, by the region in which they end."""

    __slots__ = ("depth", "entries", "exits", "loop", "parent")

    def __init__(self, parent: Region | None = None, loop: PlanNode | None = None) -> None:
        self.parent = parent
        self.loop = loop
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.entries: list[PlanEdge] = []
        self.exits: list[PlanEdge] = []


class PlanNode:
    """One node. `name` is its id as visit ids hold it; `ins` and `out` are in the order of definition.

    `arrivals` is how many edges it hears from in one scope; `serves` are the nodes whose fallback it is. `next` is
    the one edge that leaves it, if that is taken whatever the result is, and nothing else is to be looked at.
    """

    __slots__ = (
        "arrivals",
        "binding",
        "body",
        "condition",
        "fallback",
        "id",
        "index",
        "ins",
        "is_any",
        "is_check_last",
        "is_lone",
        "is_terminal",
        "kind",
        "max_iterations",
        "name",
        "next",
        "node",
        "out",
        "region",
        "serves",
        "values",
        "worker",
    )
    region: Region

    def __init__(self, index: int, node: Node, binding: Binding | None) -> None:
        self.index = index
        self.node = node
        self.id = node.id
        self.name = node.id.translate(_CODES)
        self.binding = binding
        built_in = node.built_in
        self.kind = Kind.WORK if binding is not None or built_in is None else _KINDS[built_in]
        strategy = node.config.join_strategy
        self.is_any = strategy == "any" or (strategy is None and self.kind is Kind.LOOP)
        self.ins: list[PlanEdge] = []
        self.out: list[PlanEdge] = []
        self.next: PlanEdge | None = None
        self.arrivals = 0
        self.is_lone = False
        self.is_terminal = False
        self.fallback: PlanNode | None = None
        self.serves: list[PlanNode] = []
        # Of loop controllers.
        self.body: Region | None = None
        self.condition: Expression | None = None
        self.max_iterations = MAX_ITERATIONS
        self.is_check_last = False
        # Of `set` and `batch-scatter`.
        self.values: list[tuple[str, Expression]] = []
        self.worker: PlanNode | None = None


class PlanEdge:
    """One edge. `meet` is the innermost region that both ends are in; `is_back`: it ends an iteration of the loop that
    it leads to; `is_plain`: it is taken whatever the result is, and leads to its own region."""

    __slots__ = ("action", "condition", "index", "is_back", "is_plain", "meet", "source", "target", "transform")
    meet: Region

    def __init__(self, index: int, edge: Edge, source: PlanNode, target: PlanNode, names: frozenset[str]) -> None:
        self.index = index
        self.source = source
        self.target = target
        self.action = edge.action
        self.condition = None if edge.condition is None else compile_expression(edge.condition, names=names)
        self.transform = None if edge.transform is None else compile_expression(edge.transform, names=names)
        self.is_back = False
        self.is_plain = False


class Plan:
    """One blueprint. `starts` are the nodes that begin a run, `ends` those where it ends; `plans` holds it and its
    subflows by id."""

    __slots__ = ("_bind", "_names", "by_id", "concurrency", "ends", "graph", "nodes", "plans", "root", "starts")

    def __init__(self, graph: Graph, bind: Bind, plans: Mapping[str, Plan]) -> None:
        self.graph = graph
        self.plans = plans
        self._bind = bind
        self._names = frozenset(node.id for node in graph.nodes if "-" in node.id)
        self.nodes = [PlanNode(index, node, bind(node)) for index, node in enumerate(graph.nodes)]
        self.by_id = {node.id: node for node in self.nodes}
        self.root = Region()
        self.concurrency = graph.concurrency or CONCURRENCY
        edges = self._connect()
        self._place_loops()
        self._link_fallbacks()
        self._cut_cycles(edges)
        for edge in edges:
            _classify(edge)
        self.starts = [node for node in self.nodes if self._is_start(node)]
        self._drop_unreachable()
        for node in self.nodes:
            self._finish(node)
        self.ends = [node for node in self.nodes if node.is_terminal]

    def dynamic(self, node: Node) -> PlanNode:
        """A node that exists in one run only."""
        made = PlanNode(-1, node, self._bind(node))
        made.region = self.root
        self._prepare(made)
        return made

    def dynamic_nodes(self, nodes: Iterable[Node]) -> list[PlanNode]:
        """Those that a result brings. `BlueprintError` for ids that are not new, and expressions that do not parse."""
        made: dict[str, PlanNode] = {}
        for node in nodes:
            if node.id in self.by_id:
                raise BlueprintError(f"dynamic node {node.id!r}: there is a node of that id; give it another")
            if node.id in made:
                raise BlueprintError(f"dynamic nodes: two of them are called {node.id!r}; give each its own id")
            try:
                made[node.id] = self.dynamic(node)
            except ExpressionError as error:
                raise BlueprintError(f"dynamic node {node.id!r}: {error}") from None
        return list(made.values())

    # --- building

    def _connect(self) -> list[PlanEdge]:
        chosen: dict[tuple[str, str, str | None, str | None], Edge] = {}
        for edge in self.graph.edges:
            chosen[edge.source, edge.target, edge.action, edge.condition] = edge
        edges = []
        for index, edge in enumerate(chosen.values()):
            made = PlanEdge(index, edge, self.by_id[edge.source], self.by_id[edge.target], self._names)
            edges.append(made)
            made.source.out.append(made)
            made.target.ins.append(made)
        return edges

    def _place_loops(self) -> None:
        """Which loop each node is in: the innermost one, that is the one with the smallest body."""
        bodies = loop_bodies(self.graph)
        for node in self.nodes:
            node.region = self.root
        for id, body in sorted(bodies.items(), key=lambda item: -len(item[1])):
            controller = self.by_id[id]
            controller.body = Region(controller.region, controller)
            for member in body:
                self.by_id[member].region = controller.body

    def _link_fallbacks(self) -> None:
        for node in self.nodes:
            name = node.node.config.fallback
            if name is None:
                continue
            fallback = node.fallback = self.by_id[name]
            fallback.serves.append(node)
        waiting = {node.index: len(node.serves) for node in self.nodes if node.serves}
        placed = [node for node in self.nodes if not node.serves]
        while placed:
            after = placed.pop().fallback
            if after is not None:
                waiting[after.index] -= 1
                if not waiting[after.index]:
                    self._place_fallback(after)
                    placed.append(after)

    def _place_fallback(self, node: PlanNode) -> None:
        """A fallback runs where the nodes run that it serves, though no edge leads on from it."""
        regions = {served.region for served in node.serves}
        if regions == {node.region}:
            return
        ids = ", ".join(repr(served.id) for served in node.serves)
        if len(regions) > 1:
            raise BlueprintError(
                f"node {node.id!r} is the fallback of {ids}, which are in different loops; give each its own"
            )
        if node.body is not None:
            raise BlueprintError(
                f"the loop {node.id!r} is the fallback of {ids}, which is in another loop; move it there"
            )
        node.region = regions.pop()

    def _is_start(self, node: PlanNode) -> bool:
        if node.serves and not node.ins:
            return False
        return not node.ins or (all(edge.is_back for edge in node.ins) and not self._has_entries(node))

    def _has_entries(self, node: PlanNode) -> bool:
        return node.body is not None and bool(node.body.entries)

    def _cut_cycles(self, edges: list[PlanEdge]) -> None:
        """Edges that would close a cycle without a loop controller lead nowhere: each node of it runs once."""
        back = {id(edge) for edge in edges if edge.target.body is not None and is_in(edge.source, edge.target.body)}
        if not back and analyze(self.graph).is_dag:
            return
        entries = [self.by_id[name] for name in self.graph.cycle_entry_points if name in self.by_id]
        roots = [node for node in self.nodes if not node.ins]
        for edge in _closing(self.nodes, [*roots, *entries, *self.nodes], back):
            edge.source.out.remove(edge)
            edge.target.ins.remove(edge)
            edges.remove(edge)

    def _drop_unreachable(self) -> None:
        """What no start leads to never runs; its edges are as if they were not there."""
        seen = set(map(id, self.starts))
        todo = list(self.starts)
        while todo:
            node = todo.pop()
            following = [edge.target for edge in node.out]
            if node.fallback is not None:
                following.append(node.fallback)
            if node in self.starts and node.body is not None:
                following.extend(edge.target for edge in node.out if is_in(edge.target, node.body))
            for other in following:
                if id(other) not in seen:
                    seen.add(id(other))
                    todo.append(other)
        if len(seen) < len(self.nodes):
            for node in self.nodes:
                node.ins = [edge for edge in node.ins if id(edge.source) in seen]
                node.serves = [served for served in node.serves if id(served) in seen]
                if node.body is not None:
                    node.body.entries = [edge for edge in node.body.entries if id(edge.source) in seen]

    def _finish(self, node: PlanNode) -> None:
        outside = [edge for edge in node.ins if not edge.is_back]
        node.is_check_last = node.body is not None and not outside
        if node.is_check_last:
            assert node.body is not None, "only loops check last"
            outside = [edge for edge in node.body.entries if edge.meet is node.region]
        node.arrivals = len(outside) + len(node.serves)
        node.is_lone = node.arrivals == 1 and not node.serves
        leaving = node.out if node.body is None else [edge for edge in node.out if not is_in(edge.target, node.body)]
        node.is_terminal = not leaving and not (node.serves and not node.ins)
        self._prepare(node)
        only = node.out[0] if len(node.out) == 1 else None
        if only is not None and only.is_plain and node.kind is not Kind.LOOP:
            node.next = only

    def _prepare(self, node: PlanNode) -> None:
        params = node.node.params
        if node.kind is Kind.LOOP:
            node.condition = compile_expression(params["condition"], names=self._names)
            node.max_iterations = int(params.get("maxIterations") or MAX_ITERATIONS)
        elif node.kind is Kind.SET:
            values = params.get("values", {})
            node.values = [(key, compile_expression(text, names=self._names)) for key, text in values.items()]
        elif node.kind is Kind.SCATTER:
            config = node.node.config
            worker = Node(id=f"{node.id} (an item)", uses=params["workerUsesKey"], config=config)
            node.worker = self.dynamic(worker)


def make_plans(main: Graph, others: Iterable[Graph], bind: Bind) -> Plan:
    """The plan of a blueprint, with those of its subflows."""
    plans: dict[str, Plan] = {}
    for graph in (*others, main):
        plans[graph.id] = Plan(graph, bind, plans)
    return plans[main.id]


def is_in(node: PlanNode, body: Region) -> bool:
    region: Region | None = node.region
    while region is not None and region is not body:
        region = region.parent
    return region is body


def _classify(edge: PlanEdge) -> None:
    source, target = edge.source, edge.target
    # A controller's edges into its own body begin there: they are taken anew in each iteration.
    begins = source.body if source.body is not None and is_in(target, source.body) else source.region
    if target.body is not None and is_in(source, target.body):
        edge.is_back = True
        edge.meet = target.body
    else:
        edge.meet = _meet(begins, target.region)
        for region in below(target.region, edge.meet):
            region.entries.append(edge)
    for region in below(begins, edge.meet):
        region.exits.append(edge)
    edge.is_plain = (
        edge.action is None
        and edge.condition is None
        and edge.transform is None
        and not edge.is_back
        and source.region is target.region
    )


def _meet(a: Region, b: Region) -> Region:
    """The innermost region that holds both."""
    while a is not b:
        if a.depth < b.depth:
            a, b = b, a
        assert a.parent is not None, "all regions meet in the root"
        a = a.parent
    return a


def below(region: Region, top: Region) -> list[Region]:
    """The region and those around it, up to and without `top`."""
    found = []
    while region is not top:
        found.append(region)
        assert region.parent is not None, "top is around it"
        region = region.parent
    return found


def _closing(nodes: list[PlanNode], order: list[PlanNode], ignored: set[int]) -> list[PlanEdge]:
    """The edges that lead back to a node on the path to them, in a walk in depth from `order`."""
    found = []
    white, grey = set(map(id, nodes)), set[int]()
    for root in order:
        if id(root) not in white:
            continue
        white.discard(id(root))
        grey.add(id(root))
        path = [(root, iter(root.out))]
        while path:
            node, edges = path[-1]
            edge = next(edges, None)
            if edge is None:
                grey.discard(id(node))
                path.pop()
            elif id(edge) in ignored:
                continue
            elif id(edge.target) in grey:
                found.append(edge)
            elif id(edge.target) in white:
                white.discard(id(edge.target))
                grey.add(id(edge.target))
                path.append((edge.target, iter(edge.target.out)))
    return found
