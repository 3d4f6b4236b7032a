"""`stepwell blueprint lint`, `show` and `run`, over JSON files and Python."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stepwell.cli import main
from tests.cli.support import Shell, eventually

NODES = """
from stepwell import step
from stepwell.authoring.blueprints import Blueprint

@step
async def fetch(item: str) -> dict[str, int]:
    return {"price": len(item)}

def buy(ctx):
    return f"bought for {ctx.input}"

def fails(ctx):
    raise RuntimeError("sold out")

flow = Blueprint("in-python").node("fetch", fetch).node("buy", buy).edge("fetch", "buy")
"""
WRONG = 'wrong = Blueprint("wrong").node("fetch", fetch).edge("fetch", "nowhere")\n'
WATCH: dict[str, Any] = {
    "id": "watch",
    "nodes": [
        {"id": "fetch", "uses": "fetch", "config": {"maxRetries": 3, "retryDelay": "2s", "timeout": 5000}},
        {"id": "approve", "uses": "WaitNode", "note": "kept"},
        {"id": "buy", "uses": "buy", "inputs": "fetch.price"},
        {"id": "skip", "uses": "set", "params": {"values": {"skipped": "true"}}},
    ],
    "edges": [
        {"source": "fetch", "target": "approve"},
        {"source": "approve", "target": "buy", "action": "yes"},
        {"source": "approve", "target": "skip", "action": "no"},
    ],
}
STRAIGHT = {
    "id": "straight",
    "nodes": [{"id": "fetch", "uses": "fetch"}, {"id": "buy", "uses": "buy", "inputs": "fetch.price"}],
    "edges": [{"source": "fetch", "target": "buy"}],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, "watch.json", WATCH)
    name = f"nodes_{abs(hash(tmp_path))}.py"  # modules stay imported; each test has its own
    (tmp_path / name).write_text(NODES + WRONG)
    return tmp_path


def write(folder: Path, name: str, document: object) -> None:
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document, indent=2))


def nodes(folder: Path) -> str:
    return next(folder.glob("nodes_*.py")).name


class TestLint:
    def test_a_good_file_is_exit_0(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["blueprint", "lint", "watch.json", "--include", nodes(folder)]) == 0

        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "1 file: nothing wrong\n")

    def test_a_mistake_has_its_line_and_path(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder, "bad.json", {**WATCH, "edges": [*WATCH["edges"], {"source": "buy", "target": "skp"}]})
        lines = (folder / "bad.json").read_text().splitlines()
        line = next(number for number, text in enumerate(lines, 1) if "skp" in text)

        assert main(["blueprint", "lint", "bad.json"]) == 1
        assert capsys.readouterr().out == (
            f"bad.json:{line}: error INVALID_EDGE_TARGET edges[3].target: no node is called 'skp'; "
            "did you mean 'skip'?\n"
        )

    def test_all_mistakes_of_form_are_told_at_once(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder, "bad.json", {"nodes": {"a": {"uses": 1}, "b c": {"uses": "x", "config": {"timeout": "soon"}}}})

        assert main(["blueprint", "lint", "bad.json"]) == 1
        out = capsys.readouterr().out
        assert "bad.json:1: error MISSING_FIELD id: " in out
        assert "bad.json:4: error INVALID_FIELD nodes.a.uses: " in out
        assert 'bad.json:9: error INVALID_FIELD nodes["b c"].config.timeout: ' in out

    def test_what_is_no_json_has_its_line(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder, "bad.json", '{\n  "id": "x",\n  oops\n}')

        assert main(["blueprint", "lint", "bad.json"]) == 1
        assert capsys.readouterr().out.startswith("bad.json:3: error INVALID_JSON not JSON: line 3, column 3")

    def test_implementations_are_looked_for_only_if_some_are_given(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(folder, "bad.json", {**STRAIGHT, "nodes": [*STRAIGHT["nodes"], {"id": "x", "uses": "buyy"}]})

        assert main(["blueprint", "lint", "bad.json"]) == 0
        capsys.readouterr()
        assert main(["blueprint", "lint", "bad.json", "--include", nodes(folder)]) == 1
        assert "error MISSING_NODE_IMPLEMENTATION nodes[2].uses: " in capsys.readouterr().out

    def test_warnings_fail_only_if_strict(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder, "warned.json", {**STRAIGHT, "metadata": {"versoin": "1"}})

        assert main(["blueprint", "lint", "warned.json"]) == 0
        assert main(["blueprint", "lint", "warned.json", "--strict"]) == 1
        assert "warning UNKNOWN_FIELD metadata.versoin: " in capsys.readouterr().out

    def test_json_has_every_field(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder, "bad.json", {**STRAIGHT, "edges": [{"source": "fetch", "target": "by"}]})

        assert main(["blueprint", "lint", "bad.json", "--json"]) == 1
        said = json.loads(capsys.readouterr().out)
        assert said["ok"] is False
        finding = next(item for item in said["findings"] if item["code"] == "INVALID_EDGE_TARGET")
        assert (finding["file"], finding["line"], finding["path"]) == ("bad.json", 17, "edges[0].target")

    def test_several_files_and_blueprints_in_python(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["blueprint", "lint", "watch.json", nodes(folder)]) == 1

        place = f"{nodes(folder)}:wrong"
        said = capsys.readouterr()
        assert said.out.startswith(f"{place}: error INVALID_EDGE_TARGET edges[0].target: no node is called 'nowhere'")
        assert said.err == "2 files: 1 error\n"

    def test_the_fields_of_an_input_are_known_names(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        document = {**STRAIGHT, "edges": [{"source": "fetch", "target": "buy", "condition": "budget > limit"}]}
        write(folder, "named.json", document)

        main(["blueprint", "lint", "named.json", "--input", '{"budget": 7}'])
        out = capsys.readouterr().out
        assert "UNKNOWN_REFERENCE edges[0].condition: 'limit'" in out
        assert "'budget' is no node" not in out

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["nothing.json"], "there is no file nothing.json"),
            (["nothing.py"], "there is no file nothing.py"),
            (["watch.json", "--include", "nothing.json"], "there is no file nothing.json"),
            (["watch.json", "--input", "{"], "--input is not JSON"),
        ],
    )
    def test_wrong_use_is_exit_2(
        self, folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
    ) -> None:
        assert main(["blueprint", "lint", *words]) == 2
        assert expected in capsys.readouterr().err


class TestShow:
    def test_a_table_and_the_shape(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rest = {"action": "no", "condition": "1 < 2", "transform": "input.price"}
        last = {"source": "approve", "target": "skip", **rest}
        write(folder, "watch.json", {**WATCH, "edges": [*WATCH["edges"][:2], last]})

        assert main(["blueprint", "show", "watch.json"]) == 0
        out = capsys.readouterr().out
        assert out.splitlines() == [
            "watch",
            "",
            "NODE     USES      INPUTS       TRIES         TIMEOUT  LEADS TO",
            "fetch    fetch                  3 after 2.0s  5.0s     approve",
            "approve  WaitNode                                      buy, skip",
            "buy      buy       fetch.price",
            "skip     set",
            "",
            "approve -> buy   on yes",
            "approve -> skip  on no, if 1 < 2, gives input.price",
            "",
            "4 nodes, 3 edges",
            "begins with: fetch",
            "ends with: buy, skip",
        ]

    def test_loops_cycles_and_what_never_runs(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        document = {
            "id": "loops",
            "nodes": [
                {"id": "again", "uses": "loop-controller", "params": {"condition": "n < 3"}},
                {"id": "work", "uses": "x", "config": {"fallback": "help", "joinStrategy": "any"}},
                {"id": "help", "uses": "x"},
                {"id": "a", "uses": "x"},
                {"id": "b", "uses": "x"},
            ],
            "edges": [
                {"source": "again", "target": "work", "action": "continue"},
                {"source": "work", "target": "again"},
                {"source": "a", "target": "b"},
                {"source": "b", "target": "a"},
            ],
        }
        write(folder, "loops.json", document)

        assert main(["blueprint", "show", "loops.json"]) == 0
        out = capsys.readouterr().out
        assert "loop again: work, help" in out
        assert "cycle: a > b > a" in out
        assert "again  loop-controller n < 3" in out
        assert "help" in next(line for line in out.splitlines() if line.startswith("work"))

    def test_the_normalised_document_means_the_same(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["blueprint", "show", "watch.json", "--json"]) == 0

        said = json.loads(capsys.readouterr().out)
        assert said["nodes"][0]["config"] == {"maxRetries": 3, "retryDelay": 2000, "timeout": 5000}
        assert said["nodes"][1] == {"id": "approve", "uses": "wait"}
        assert said["edges"] == WATCH["edges"]
        write(folder, "again.json", said)
        main(["blueprint", "show", "again.json", "--json"])
        assert json.loads(capsys.readouterr().out) == said

    def test_mermaid(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["blueprint", "show", f"{nodes(folder)}:flow", "--mermaid"]) == 0

        assert capsys.readouterr().out == 'flowchart TD\n    n0["fetch"]\n    n1["buy"]\n    n0 --> n1\n'

    def test_the_schema_needs_no_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["blueprint", "show", "--schema"]) == 0
        assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def test_a_broken_file_is_told_with_its_name(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(folder, "bad.json", {**STRAIGHT, "edges": [{"source": "fetch", "target": "by"}]})

        assert main(["blueprint", "show", "bad.json"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("stepwell: bad.json: blueprint 'straight': edges[0].target: no node is called 'by'")
        assert err.endswith("stepwell blueprint lint bad.json\n")

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], "name a file"),
            (["{nodes}"], "there are: in-python, wrong"),
            (["{nodes}:flw"], "has no blueprint 'flw'; it has: flow, wrong"),
        ],
    )
    def test_wrong_use_is_exit_2(
        self, folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
    ) -> None:
        assert main(["blueprint", "show", *(word.format(nodes=nodes(folder)) for word in words)]) == 2
        assert expected in capsys.readouterr().err


class TestRun:
    @pytest.fixture
    def shell(self, shell: Shell) -> Shell:
        (shell.folder / "nodes.py").write_text(NODES)
        for document in (WATCH, STRAIGHT):
            write(shell.folder, f"{document['id']}.json", document)
        return shell

    def test_prints_the_result_and_attaches(self, shell: Shell) -> None:
        words = ("blueprint", "run", "straight.json", "--include", "nodes.py", "--input", '"desk"', "--id", "s")
        for _ in range(2):
            done = shell(*words)
            assert (done.returncode, done.stdout, done.stderr) == (0, '"bought for 4"\n', "")

    def test_a_blueprint_in_python_runs_by_either_command(self, shell: Shell) -> None:
        for words in (("blueprint", "run"), ("run",)):
            assert shell(*words, "nodes.py:flow", "--input", '"desk"').stdout == "\"bought for {'price': 4}\"\n"

    def test_what_is_missing_is_named_before_anything_starts(self, shell: Shell) -> None:
        done = shell("blueprint", "run", "straight.json", "--input", '"desk"', "--id", "s")

        assert done.returncode == 2
        assert "there is no implementation of 'buy', 'fetch'; give --include" in done.stderr
        assert shell.status("s") is None

    def test_subflows_are_included_as_files(self, shell: Shell) -> None:
        node = {"id": "all", "uses": "subflow", "params": {"blueprintId": "straight"}}
        write(shell.folder, "outer.json", {"id": "outer", "nodes": [node]})
        words = ("blueprint", "run", "outer.json", "--include", "straight.json", "--include", "nodes.py")

        assert shell(*words, "--input", '"desk"').stdout == '"bought for 4"\n'

    def test_a_module_that_reads_the_same_file_is_fine(self, shell: Shell) -> None:
        more = "from pathlib import Path\n"
        more += "read = Blueprint.from_json(Path('straight.json').read_bytes(), include=[fetch, buy])\n"
        (shell.folder / "nodes.py").write_text(f"{NODES}{more}")
        words = ("blueprint", "run", "straight.json", "--include", "nodes.py", "--input", '"desk"')

        assert shell(*words).stdout == '"bought for 4"\n'
        (shell.folder / "nodes.py").write_text(NODES + "read = Blueprint('straight').node('buy', buy)\n")
        done = shell(*words)
        assert done.returncode == 2
        assert "straight.json and nodes.read are both called 'straight', and are not the same" in done.stderr

    def test_a_failed_run_is_exit_1(self, shell: Shell) -> None:
        write(shell.folder, "fails.json", {"id": "f", "nodes": [{"id": "only", "uses": "fails"}]})
        done = shell("blueprint", "run", "fails.json", "--include", "nodes.py", "--id", "f")

        assert done.returncode == 1
        assert "node 'only'" in done.stderr
        assert "sold out" in done.stderr

    @pytest.mark.skipif(os.name == "nt", reason="another process cannot send Ctrl-C there")
    def test_ctrl_c_parks_and_the_same_command_goes_on(self, shell: Shell) -> None:
        words = ("blueprint", "run", "watch.json", "--include", "nodes.py", "--input", '"desk"', "--id", "w")
        process = shell.begin(*words)
        eventually(lambda: shell.status("w") == "waiting")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)

        assert process.returncode == 130
        assert "stepwell blueprint run watch.json --include nodes.py --input '\"desk\"' --id w" in stderr
        assert "node approve waits: stepwell runs resume w --node approve" in shell("runs", "show", "w").stdout

        write(shell.folder, "watch.json", {**WATCH, "edges": WATCH["edges"][:1]})  # the run keeps what it began with
        assert shell("runs", "resume", "w", "--node", "approve", "--action", "yes").returncode == 0
        assert shell(*words).stdout == '"bought for 4"\n'
