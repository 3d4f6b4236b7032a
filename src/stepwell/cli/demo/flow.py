"""The workflow of the demo: index the files of a folder, wait for an approval, write a report.

Every step appends one line to a log and syncs it, so that afterwards anybody can count how often it really ran.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct

from stepwell.authoring.context import Context
from stepwell.authoring.messages import Signal
from stepwell.authoring.running import current_step
from stepwell.authoring.steps import step
from stepwell.authoring.workflows import workflow
from stepwell.runtime.app import Stepwell

EFFECTS, INDEX, REPORT = "effects.log", "index.json", "report.md"
_WORD = re.compile(r"[a-z][a-z_]{2,}")
_TERMS = 40
_LANES = 4


class Job(Struct, frozen=True):
    """What to index. Each file's step takes at least `pause_ms`, so that there is something to watch."""

    root: str
    out: str
    files: tuple[str, ...]
    query: tuple[str, ...] = ("workflow", "journal", "retry")
    pause_ms: int = 0


class FileTask(Struct, frozen=True):
    """One file of a job."""

    root: str
    out: str
    path: str
    pause_ms: int


class FileFacts(Struct, frozen=True):
    """What is known of a file: its size, its hash, and its most frequent words."""

    path: str
    lines: int
    words: int
    sha256: str
    terms: dict[str, int]


class Index(Struct, frozen=True):
    """An inverted index that was written to a file."""

    path: str
    terms: int
    files: int
    words: int
    sha256: str


class Approval(Struct, frozen=True):
    """Who allows the report."""

    by: str


class Report(Struct, frozen=True):
    """The result of the demo."""

    path: str
    files: int
    words: int
    terms: int
    hits: dict[str, list[str]]
    approved_by: str


approval = Signal("approval", Approval)


@step
async def index_file(task: FileTask) -> FileFacts:
    """Read, hash and count one file."""
    record_effect(task.out)
    data = (Path(task.root) / task.path).read_bytes()
    words = _WORD.findall(data.decode(errors="replace").lower())
    if task.pause_ms:
        await asyncio.sleep(task.pause_ms / 1000)
    terms = dict(Counter(words).most_common(_TERMS))
    return FileFacts(task.path, data.count(b"\n"), len(words), hashlib.sha256(data).hexdigest(), terms)


@step
def build_index(out: str, facts: list[FileFacts]) -> Index:
    """Turn words per file into files per word, and write that."""
    record_effect(out)
    index: dict[str, dict[str, int]] = {}
    for fact in facts:
        for term, count in fact.terms.items():
            index.setdefault(term, {})[fact.path] = count
    body = msgspec.json.encode(index)
    path = Path(out) / INDEX
    path.write_bytes(body)
    words = sum(fact.words for fact in facts)
    return Index(str(path), len(index), len(facts), words, hashlib.sha256(body).hexdigest())


@step
def query_index(index: Index, term: str, out: str) -> list[str]:
    """The three files in which a word is most frequent."""
    record_effect(out)
    found = msgspec.json.decode(Path(index.path).read_bytes()).get(term, {})
    return sorted(found, key=lambda path: (-found[path], path))[:3]


@step
def write_report(out: str, index: Index, hits: dict[str, list[str]], approved_by: str) -> str:
    """Write the report."""
    record_effect(out)
    lines = [f"# {index.files} files, {index.words} words, {index.terms} terms", "", f"Approved by {approved_by}.", ""]
    lines += [f"- {term}: {', '.join(paths) or 'nowhere'}" for term, paths in hits.items()]
    path = Path(out) / REPORT
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@workflow
async def index_files(ctx: Context, job: Job) -> Report:
    """Index, ask, report."""
    tasks = [FileTask(job.root, job.out, path, job.pause_ms) for path in job.files]
    facts = await ctx.map(index_file, tasks, concurrency=_LANES, key=lambda task: task.path)
    index = await build_index(job.out, facts)
    hits = {term: await query_index.options(key=term)(index, term, job.out) for term in job.query}
    allowed = await ctx.receive(approval, timeout="1h")
    path = await write_report(job.out, index, hits, allowed.by)
    return Report(path, index.files, index.words, index.terms, hits, allowed.by)


def record_effect(out: str) -> None:
    """One synced line: which step, which attempt, in which process."""
    this = current_step()
    line = f"{this.id}\t{this.attempt}\t{os.getpid()}\n"
    file = os.open(Path(out) / EFFECTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, line.encode())
        os.fsync(file)
    finally:
        os.close(file)


app = Stepwell(include=[__name__])
