"""The builder of blueprints: the JSON that it makes, what it refuses, and where implementations come from."""

from __future__ import annotations

import functools
import json
from types import ModuleType
from typing import Any

import pytest

from stepwell import BlueprintError, DefinitionError, Event, NodeContext, Retry, Signal, Stepwell, step, workflow
from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.context import Context
from stepwell.authoring.implementations import found_implementations
from tests.formats.documents import GOOD


@step
async def fetch(item: str) -> dict[str, int]:
    return {"price": len(item)}


async def compare(ctx: NodeContext[Any]) -> Any:
    return ctx.input


class Buy:
    async def exec(self, prepared: Any, ctx: NodeContext[Any]) -> Any:
        return prepared


@workflow
async def ship(ctx: Context, item: str) -> str:
    return item


def nodes(blueprint: Blueprint[Any, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = blueprint.document["nodes"]
    return found


def edges(blueprint: Blueprint[Any, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = blueprint.document["edges"]
    return found


class TestNodes:
    def test_implementations_are_named_after_themselves(self) -> None:
        flow = Blueprint("f").node("a", fetch).node("b", compare).node("c", Buy).node("d", ship).node("e", "by-name")

        assert [node["uses"] for node in nodes(flow)] == ["fetch", "compare", "Buy", "ship", "by-name"]
        assert flow.implementations == {"fetch": fetch, "compare": compare, "Buy": Buy, "ship": ship}

    def test_options_become_the_fields_of_the_json(self) -> None:
        flow = Blueprint("f").node(
            "a",
            fetch,
            uses="fetch-v2",
            params={"n": 1},
            inputs={"item": "start.item"},
            retry=Retry(attempts=3, first_delay="1s", backoff=2.0, max_delay="1m"),
            timeout="30s",
            fallback="b",
            join="any",
        )

        assert nodes(flow) == [
            {
                "id": "a",
                "uses": "fetch-v2",
                "params": {"n": 1},
                "inputs": {"item": "start.item"},
                "config": {
                    "maxRetries": 3,
                    "retryDelay": 1000,
                    "backoff": 2.0,
                    "maxDelay": 60000,
                    "timeout": 30000,
                    "fallback": "b",
                    "joinStrategy": "any",
                },
            }
        ]

    def test_a_node_has_only_the_fields_that_were_given(self) -> None:
        assert nodes(Blueprint("f").node("a", compare)) == [{"id": "a", "uses": "compare"}]
        assert nodes(Blueprint("f").node("", compare)) == [{"id": "", "uses": "compare"}]

    def test_an_id_is_given_once(self) -> None:
        with pytest.raises(BlueprintError, match="blueprint 'f' has a node 'a' already"):
            Blueprint("f").node("a", fetch).node("a", compare)

    def test_unknown_options_are_named_with_those_that_there_are(self) -> None:
        with pytest.raises(DefinitionError, match="node 'a' has no option 'retires'; there are: fallback, inputs"):
            Blueprint("f").node("a", fetch, retires=3)  # type: ignore[call-arg]
        with pytest.raises(DefinitionError, match="batch 'a' has no option 'chunk'"):
            Blueprint("f").batch("a", fetch, over="items", chunk=3)  # type: ignore[call-arg]
        with pytest.raises(DefinitionError, match="subflow 'a' has no option 'retry'"):
            Blueprint("f").subflow("a", "other", retry=Retry())  # type: ignore[call-arg]
        with pytest.raises(DefinitionError, match="has no option 'verison'"):
            Blueprint("f", verison="1")  # type: ignore[call-arg]

    def test_what_has_no_name_needs_one(self) -> None:
        with pytest.raises(DefinitionError, match=r"node 'a': .*lambda.* has no name of its own; give uses="):
            Blueprint("f").node("a", lambda ctx: 1)

        assert nodes(Blueprint("f").node("a", lambda ctx: 1, uses="one"))[0]["uses"] == "one"
        assert nodes(Blueprint("f").node("a", functools.partial(compare)))[0]["uses"] == "compare"

    def test_the_name_of_a_built_in_node_is_taken_on_purpose_only(self) -> None:
        async def wait(ctx: NodeContext[Any]) -> None: ...

        with pytest.raises(DefinitionError, match="node 'a': 'wait' is the name of a built-in node"):
            Blueprint("f").node("a", wait)
        with pytest.raises(DefinitionError, match="node 'a': 'wait' is the name of a built-in node"):
            Blueprint("f").batch("a", wait, over="items")

        assert nodes(Blueprint("f").node("a", wait, uses="attend"))[0]["uses"] == "attend"
        batch = nodes(Blueprint("f").batch("a", wait, over="items", uses="attend"))[0]
        assert batch["params"]["workerUsesKey"] == "attend"
        assert Blueprint("f").node("a", wait, uses="wait").implementations == {"wait": wait}

    def test_two_implementations_of_one_name_are_refused(self) -> None:
        def other() -> Any:
            def compare(ctx: NodeContext[Any]) -> None: ...

            return compare

        with pytest.raises(DefinitionError, match="node 'b': another implementation is called 'compare'; give one"):
            Blueprint("f").node("a", compare).node("b", other())

        assert len(Blueprint("f").node("a", compare).node("b", other(), uses="other").implementations) == 2

    def test_a_child_run_has_options_of_its_own(self) -> None:
        with pytest.raises(DefinitionError, match="node 'a' is a run of its own: say retry= where the workflow is"):
            Blueprint("f").node("a", ship, retry=Retry())

    def test_what_the_json_cannot_say_is_refused(self) -> None:
        for retry in (Retry(on=(ValueError,)), Retry(jitter=0.5)):
            with pytest.raises(DefinitionError, match=r"node 'a': a blueprint has no place for Retry\(on=\)"):
                Blueprint("f").node("a", fetch, retry=retry)

    def test_a_wrong_duration_names_the_node(self) -> None:
        with pytest.raises(DefinitionError, match="sleep 'a'"):
            Blueprint("f").sleep("a", "soon")
        with pytest.raises(DefinitionError, match="node 'a': timeout"):
            Blueprint("f").node("a", fetch, timeout="soon")


class TestBuiltIns:
    def test_waits(self) -> None:
        flow = (
            Blueprint("f")
            .wait("a")
            .wait("b", Signal("approval", str), timeout="2d")
            .wait("c", Event("paid", int))
            .wait("d", "approval")
            .sleep("e", "2h")
            .webhook("g")
            .set("h", total="a + 1")
            .wait("i", "webhook:g")
        )

        assert nodes(flow) == [
            {"id": "a", "uses": "wait"},
            {"id": "b", "uses": "wait", "params": {"signal": "approval", "timeout": 172_800_000}},
            {"id": "c", "uses": "wait", "params": {"eventName": "paid"}},
            {"id": "d", "uses": "wait", "params": {"signal": "approval"}},
            {"id": "e", "uses": "sleep", "params": {"duration": 7_200_000}},
            {"id": "g", "uses": "webhook"},
            {"id": "h", "uses": "set", "params": {"values": {"total": "a + 1"}}},
            {"id": "i", "uses": "wait", "params": {"eventName": "webhook:g"}},
        ]

    def test_a_batch_is_two_nodes_and_edges_to_it_are_theirs(self) -> None:
        flow = (
            Blueprint("f")
            .edge("before", "each")
            .batch("each", fetch, over="items", output_key="all", concurrency=20, chunk_size=5, settle=True)
            .edge("each", "after")
            .node("before", compare)
            .node("after", compare)
        )

        assert nodes(flow)[:2] == [
            {
                "id": "each_scatter",
                "uses": "batch-scatter",
                "inputs": "items",
                "params": {
                    "workerUsesKey": "fetch",
                    "gatherNodeId": "each_gather",
                    "outputKey": "all",
                    "chunkSize": 5,
                    "concurrency": 20,
                    "settle": True,
                },
            },
            {
                "id": "each_gather",
                "uses": "batch-gather",
                "params": {"gatherNodeId": "each_gather", "outputKey": "all"},
            },
        ]
        assert [(edge["source"], edge["target"]) for edge in edges(flow)] == [
            ("before", "each_scatter"),
            ("each_scatter", "each_gather"),
            ("each_gather", "after"),
        ]
        assert flow.lint() == []

    def test_the_results_of_a_batch_go_by_its_id(self) -> None:
        flow = Blueprint("f", result={"first": "one", "second": "two"}).batch("one", fetch, over="items")
        flow.batch("two", fetch, over="one").edge("one", "two").batch("items", fetch, over="items")

        keys = [node["params"].get("outputKey") for node in nodes(flow) if node["uses"] == "batch-gather"]
        assert keys == ["one", "two", None]  # the last would change what it reads
        assert flow.document["metadata"]["output"] == {"first": "one_gather", "second": "two_gather"}
        assert flow.graph.output == flow.document["metadata"]["output"]

    def test_edges_that_leave_a_loop_are_taken_when_it_ends(self) -> None:
        flow = (
            Blueprint("f")
            .edge("again", "after")
            .edge("again", "early", condition="n > 5")
            .node("work", compare)
            .loop("again", start="work", end="work", condition="n < 3", max_iterations=7)
            .node("after", compare)
            .node("early", compare)
        )

        loop = next(node for node in nodes(flow) if node["id"] == "again")
        assert loop["params"] == {"condition": "n < 3", "maxIterations": 7}
        assert edges(flow) == [
            {"source": "again", "target": "after", "action": "break"},
            {"source": "again", "target": "early", "condition": "n > 5", "action": "break"},
            {"source": "work", "target": "again"},
            {"source": "again", "target": "work", "action": "continue"},
        ]

    def test_a_loop_from_one_batch_to_another(self) -> None:
        flow = (
            Blueprint("f")
            .batch("first", fetch, over="items")
            .batch("last", fetch, over="items")
            .edge("first", "last")
            .loop("again", start="first", end="last", condition="n < 3")
        )

        assert ("last_gather", "again") in [(edge["source"], edge["target"]) for edge in edges(flow)]
        assert ("again", "first_scatter") in [(edge["source"], edge["target"]) for edge in edges(flow)]

    def test_subflows(self) -> None:
        inner = Blueprint("inner").node("x", compare)
        flow = (
            Blueprint("f")
            .subflow("a", inner, inputs={"x": "y"}, outputs={"z": "x"}, fallback="b", join="any")
            .subflow("b", "elsewhere")
            .node("c", inner)
        )

        assert nodes(flow)[0] == {
            "id": "a",
            "uses": "subflow",
            "params": {"blueprintId": "inner", "inputs": {"x": "y"}, "outputs": {"z": "x"}},
            "config": {"fallback": "b", "joinStrategy": "any"},
        }
        assert [node["params"]["blueprintId"] for node in nodes(flow)] == ["inner", "elsewhere", "inner"]
        assert [item.id for item in flow.all_blueprints()] == ["f", "inner"]

    def test_two_subflows_of_one_id_are_refused(self) -> None:
        with pytest.raises(DefinitionError, match="node 'b': another blueprint is called 'inner'"):
            Blueprint("f").subflow("a", Blueprint("inner")).subflow("b", Blueprint("inner"))
        with pytest.raises(DefinitionError, match="node 'b': another blueprint is called 'inner'"):
            Blueprint("f").node("a", Blueprint("inner")).node("b", Blueprint("inner"))

    def test_a_blueprint_as_a_node_keeps_its_options(self) -> None:
        inner = Blueprint("inner").node("x", compare)

        assert nodes(Blueprint("f").node("a", inner, inputs="y"))[0] == {
            "id": "a",
            "uses": "subflow",
            "params": {"blueprintId": "inner"},
            "inputs": "y",
        }
        with pytest.raises(DefinitionError, match="node 'a' is a subflow, which has no option 'retry'"):
            Blueprint("f").node("a", inner, retry=Retry())

    def test_a_subflow_may_be_wired_like_any_node(self) -> None:
        flow = Blueprint("f").node("a", compare).subflow("b", Blueprint("inner").node("x", compare)).edge("a", "b")
        assert flow.lint() == []


class TestDocuments:
    @pytest.mark.parametrize("name", sorted(GOOD))
    def test_what_was_read_comes_out_as_it_was(self, name: str) -> None:
        text = json.dumps(GOOD[name], indent=2, ensure_ascii=False)
        assert Blueprint.from_json(text).to_json() == text

    def test_what_was_built_reads_back_as_the_same(self) -> None:
        flow = Blueprint("f", version="2", concurrency=3, result={"a": "a"}).node("a", fetch).sleep("b", "1s")
        flow.edge("a", "b", condition="result.output", transform="input.price")
        again = Blueprint.from_json(flow.to_json(), include=[fetch])

        assert again.document == flow.document
        assert again.graph == flow.graph
        assert again.spec.version == "2"
        assert again.graph.concurrency == 3
        assert again.graph.output == {"a": "a"}

    def test_the_document_given_is_copied(self) -> None:
        document: dict[str, Any] = {"id": "f", "nodes": [{"id": "a", "uses": "x"}]}
        flow = Blueprint.from_json(document)
        document["nodes"].clear()

        assert len(flow.graph.nodes) == 1

    def test_what_was_read_can_be_added_to(self) -> None:
        document = {"id": "f", "nodes": {"a": {"uses": "x", "note": 1}}, "edges": {"e": {"source": "a", "target": "a"}}}
        flow = Blueprint.from_json(document).node("b", compare).edge("a", "b")

        assert nodes(flow) == [{"id": "a", "uses": "x", "note": 1}, {"id": "b", "uses": "compare"}]
        assert edges(flow) == [{"source": "a", "target": "a"}, {"source": "a", "target": "b"}]
        assert [node.id for node in flow.graph.nodes] == ["a", "b"]

    def test_nulls_for_nodes_and_edges_can_be_added_to(self) -> None:
        flow = Blueprint.from_json({"id": "f", "nodes": None, "edges": None}).node("a", compare).edge("a", "a")
        assert len(flow.graph.nodes) == len(flow.graph.edges) == 1

    def test_mistakes_have_their_places(self) -> None:
        flow = Blueprint("f").node("load", compare).edge("load", "svae").node("save", compare)

        with pytest.raises(BlueprintError, match=r"edges\[0\].target: no node is called 'svae'; did you mean 'save'\?"):
            flow.graph  # noqa: B018

    def test_without_nodes_it_is_none(self) -> None:
        with pytest.raises(BlueprintError, match="blueprint 'f' has no nodes"):
            Blueprint("f").graph  # noqa: B018

    def test_the_version_of_the_json_is_that_of_the_workflow(self) -> None:
        document = {"id": "f", "nodes": [{"id": "a", "uses": "x"}], "metadata": {"version": "7"}}

        assert Blueprint.from_json(document).spec.version == "7"
        assert repr(Blueprint.from_json(document)) == "<blueprint f v7>"

    def test_options_of_a_workflow_are_taken_too(self) -> None:
        flow = Blueprint.from_json({"id": "f"}, timeout="1h", tags={"team": "web"}, retry=Retry(attempts=2))

        assert (flow.spec.timeout_ms, flow.spec.tags, flow.spec.retry) == (
            3_600_000,
            {"team": "web"},
            Retry(attempts=2),
        )


class TestLooking:
    def test_lint_knows_the_blueprints_own_nodes(self) -> None:
        flow = Blueprint("f").node("a", fetch).node("b", "elsewhere").edge("a", "b")

        assert [finding.code for finding in flow.lint()] == ["MISSING_NODE_IMPLEMENTATION"]
        assert flow.lint(include=[{"elsewhere": compare}]) == []

    def test_lint_tells_of_fields_that_mean_nothing(self) -> None:
        flow = Blueprint.from_json({"id": "f", "nodes": [{"id": "a", "uses": "join", "confg": {}}]})
        assert [finding.code for finding in flow.lint()] == ["UNKNOWN_FIELD"]

    def test_lint_knows_the_fields_of_the_input_if_told(self) -> None:
        flow = Blueprint("f").set("a", total="prices[0]")

        assert flow.lint() == flow.lint(keys=["prices"]) == []
        assert [finding.code for finding in flow.lint(keys=[])] == ["UNKNOWN_REFERENCE"]

    def test_analysis(self) -> None:
        analysis = Blueprint("f").node("a", compare).node("b", compare).edge("a", "b").analyze()
        assert (analysis.start_node_ids, analysis.terminal_node_ids) == (("a",), ("b",))

    def test_mermaid(self) -> None:
        text = Blueprint("f").node("a", compare).node("b", compare).edge("a", "b", action="go").to_mermaid()
        assert text == 'flowchart TD\n    n0["a"]\n    n1["b"]\n    n0 -->|"go"| n1'


class TestIncluding:
    def module(self, name: str = "shop", **members: object) -> ModuleType:
        module = ModuleType(name)
        for key, value in members.items():
            setattr(module, key, value)
        return module

    def owned(self, name: str, module: str = "shop") -> Any:
        def fn(ctx: NodeContext[Any]) -> None: ...

        fn.__name__, fn.__module__ = name, module
        return fn

    def test_a_module_offers_what_it_defines_and_all_its_steps_and_workflows(self) -> None:
        own, other, hidden = self.owned("own"), self.owned("other", "elsewhere"), self.owned("_hidden")
        module = self.module(own=own, other=other, _hidden=hidden, fetch=fetch, ship=ship, number=7, Retry=Retry)

        assert found_implementations([module]) == {"own": own, "fetch": fetch, "ship": ship}

    def test_a_step_goes_by_its_name_and_by_the_modules(self) -> None:
        assert found_implementations([self.module(load=fetch, _private=fetch)]) == {"fetch": fetch, "load": fetch}

    def test_a_module_replaces_no_built_in_nodes(self) -> None:
        helper = self.owned("join")

        assert found_implementations([self.module(join=helper, own=self.owned("own"))]).keys() == {"own"}
        assert found_implementations([helper]) == found_implementations([{"join": helper}]) == {"join": helper}

    def test_functions_that_no_node_uses_may_be_anything(self) -> None:
        def main() -> None: ...

        main.__module__ = "shop"
        document = {"id": "f", "nodes": [{"id": "a", "uses": "own", "params": {"workerUsesKey": [1]}}]}
        flow = Blueprint.from_json(document, include=[self.module(own=self.owned("own"), main=main)])

        assert "main" in flow.implementations
        Stepwell("memory://", include=[flow])

    def test_dicts_name_what_they_hold(self) -> None:
        assert found_implementations([{"a": fetch, "b": compare}]) == {"a": fetch, "b": compare}

    def test_two_of_one_name_are_refused(self) -> None:
        assert found_implementations([fetch, {"fetch": fetch}]) == {"fetch": fetch}
        with pytest.raises(DefinitionError, match="two implementations are called 'fetch'; include them by a dict"):
            found_implementations([fetch, {"fetch": compare}])

    @pytest.mark.parametrize("wrong", [7, lambda ctx: 1, None])
    def test_what_is_no_implementation_is_refused(self, wrong: object) -> None:
        with pytest.raises(DefinitionError, match="include holds"):
            found_implementations([wrong])

    def test_what_a_dict_holds_must_be_an_implementation(self) -> None:
        with pytest.raises(DefinitionError, match="'a' is 7, which no node can be made of"):
            found_implementations([{"a": 7}])

    def test_a_blueprint_brings_the_ones_of_its_own(self) -> None:
        inner = Blueprint("inner").node("x", fetch)
        outer = Blueprint.from_json(
            {"id": "outer", "nodes": [{"id": "a", "uses": "subflow", "params": {"blueprintId": "inner"}}]},
            include=[inner],
        )
        assert [item.id for item in outer.all_blueprints()] == ["outer", "inner"]

    def test_an_app_refuses_a_blueprint_with_mistakes(self) -> None:
        with pytest.raises(BlueprintError, match=r"edges\[0\].target: no node is called 'b'"):
            Stepwell("memory://", include=[Blueprint("f").node("a", fetch).edge("a", "b")])

    def test_an_app_refuses_expressions_that_do_not_parse_and_loops_that_overlap(self) -> None:
        wrong = Blueprint("wrong").node("a", fetch).edge("a", "a", condition="a ===")
        with pytest.raises(BlueprintError, match=r"'wrong':\n  edges\[0\].condition: expression 'a ===', column 6"):
            Stepwell("memory://", include=[wrong])
        with pytest.raises(BlueprintError, match="blueprint 'wrong'"):
            Stepwell("memory://", include=[Blueprint("outer").subflow("s", wrong)])

        overlap = Blueprint("f").node("a", fetch).node("b", fetch)
        overlap.loop("x", start="a", end="b", condition="true").loop("y", start="b", end="a", condition="true")
        with pytest.raises(BlueprintError, match="the loops of 'y' and 'x' overlap"):
            Stepwell("memory://", include=[overlap])

    def test_an_app_refuses_two_blueprints_of_one_id(self) -> None:
        first, second = Blueprint("f").node("a", fetch), Blueprint("f").node("b", fetch)
        second.__module__ = "elsewhere"

        with pytest.raises(DefinitionError, match="two workflows are called"):
            Stepwell("memory://", include=[first, second])
