"""`stepwell blueprint lint`, `show` and `run`: workflows as data, from JSON files and from Python."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.authoring.implementations import found_implementations
from stepwell.authoring.lint_blueprints import lint_document
from stepwell.authoring.programs import missing_implementations
from stepwell.cli.blueprint_files import Included, blueprint_at, included, is_json, python_blueprints, read_text
from stepwell.cli.blueprint_tables import analysis_lines, edge_lines, node_table, normalised
from stepwell.cli.console import note, paint_for, width
from stepwell.cli.json_lines import line_at, lines_of
from stepwell.cli.problems import DONE, FAILED, CommandError
from stepwell.cli.run import carry_out, job_of
from stepwell.cli.values import encoded, given_json
from stepwell.engine.graph.findings import Finding
from stepwell.errors import BlueprintError
from stepwell.formats.flowcraft import parse_document
from stepwell.formats.mermaid import to_mermaid
from stepwell.formats.schema import blueprint_schema

_LINE = re.compile(r"\bline (\d+)")


class Found(Struct, frozen=True):
    """A finding, and where it is. `line` is 0 if the blueprint is Python."""

    place: str
    line: int
    finding: Finding

    def __str__(self) -> str:
        finding = self.finding
        where = f"{self.place}:{self.line}" if self.line else self.place
        path = f"{finding.path}: " if finding.path else ""
        named = finding.node_id is None or repr(finding.node_id) in finding.message
        node = "" if named else f" (node {finding.node_id!r})"
        return f"{where}: {finding.severity} {finding.code} {path}{finding.message}{node}"

    def json(self) -> dict[str, Any]:
        """As data."""
        return {"file": self.place, "line": self.line or None, **msgspec.structs.asdict(self.finding)}


async def lint(arguments: Namespace) -> int:
    """Print what is wrong with blueprints; 1 if anything is."""
    given = included(arguments.include)
    keys = None if arguments.input is None else _keys(arguments.input)
    found = [item for place in arguments.files for item in _lint(place, given, keys)]
    errors = sum(item.finding.severity == "error" for item in found)
    is_ok = not (found if arguments.strict else errors)
    if arguments.json:
        print(encoded({"ok": is_ok, "findings": [item.json() for item in found]}))
    else:
        paint = paint_for(sys.stdout)
        for item in found:
            print(paint(str(item), "red" if item.finding.severity == "error" else "yellow"))
        note(f"{_count(len(arguments.files), 'file')}: {_tally(errors, len(found) - errors)}")
    return DONE if is_ok else FAILED


async def show(arguments: Namespace) -> int:
    """Print a blueprint as a table, as JSON, or as a picture; or the schema of blueprint files."""
    if arguments.schema:
        print(_pretty(blueprint_schema()))
        return DONE
    if arguments.file is None:
        raise CommandError("blueprint show: name a file; only --schema needs none")
    blueprint, _ = blueprint_at(arguments.file, included(arguments.include))
    graph = blueprint.graph
    if arguments.mermaid:
        print(to_mermaid(graph))
    elif arguments.json:
        print(_pretty(normalised(graph, set(blueprint.implementations))))
    else:
        paint = paint_for(sys.stdout)
        version = f" v{graph.version}" if graph.version else ""
        print(f"{paint(graph.id, 'bold')}{version}\n")
        edges = edge_lines(graph, columns=width())
        lines = [*node_table(graph, columns=width(), paint=paint), *(["", *edges] if edges else [])]
        print(*lines, "", *analysis_lines(graph), sep="\n")
    return DONE


async def run(arguments: Namespace) -> int:
    """Start a run of a blueprint or attach to it, work until it ends, print its result."""
    given = included(arguments.include)
    blueprint, own = blueprint_at(arguments.file, given)
    command = ["blueprint", "run", arguments.file]
    for place in arguments.include:
        command += ["--include", place]
    job = job_of(arguments, blueprint, tuple(command), [*own, *given.modules])
    for other in given.blueprints:
        job.app.registry.include(other)
    missing = missing_implementations(job.app.registry, blueprint)
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise CommandError(
            f"blueprint {blueprint.id}: there is no implementation of {names}; give --include FILE.py (or MODULE) with "
            f"functions of {'this name' if len(missing) == 1 else 'these names'}"
        )
    return await carry_out(job)


# --- linting


def _lint(place: str, given: Included, keys: set[str] | None) -> list[Found]:
    if not is_json(place):
        return _lint_python(place, given, keys)
    text = read_text(place)
    try:
        document = parse_document(text)
    except BlueprintError as error:
        line = _LINE.search(str(error))
        wrong = Finding(code="INVALID_JSON", severity="error", message=str(error))
        return [Found(place, int(line[1]) if line else 1, wrong)]
    is_known = bool(given.everything)
    findings = lint_document(
        document,
        implementations=given.implementations() if is_known else None,
        blueprints=given.blueprint_ids() if is_known else None,
        keys=keys,
    )
    lines = lines_of(text.decode("utf-8-sig")) if findings else {}
    return [Found(place, line_at(lines, finding.path), finding) for finding in findings]


def _lint_python(place: str, given: Included, keys: set[str] | None) -> list[Found]:
    module, blueprints = python_blueprints(place)
    all_given = Included([module, *given.modules], given.blueprints)
    names, ids = all_given.implementations(), all_given.blueprint_ids()
    found = []
    for blueprint in blueprints:
        findings = lint_document(
            blueprint.document,
            implementations=names | set(found_implementations([blueprint.implementations])),
            blueprints=ids | {item.id for item in blueprint.all_blueprints()},
            keys=keys,
        )
        name = place if len(blueprints) == 1 else f"{place}:{blueprint.id}"
        found += [Found(name, 0, finding) for finding in findings]
    return found


def _keys(text: str) -> set[str]:
    value = msgspec.json.decode(given_json(text, what="--input"))
    return set(value) if isinstance(value, dict) else set()


def _tally(errors: int, warnings: int) -> str:
    texts = [_count(number, noun) for number, noun in ((errors, "error"), (warnings, "warning")) if number]
    return ", ".join(texts) or "nothing wrong"


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
