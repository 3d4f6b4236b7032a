"""`stepwell demo`: a worker is killed in the middle of a run, another goes on, and the books are compared."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import stepwell
from stepwell.cli.console import is_terminal, paint_for, width
from stepwell.cli.demo.flow import EFFECTS, INDEX, REPORT, Approval, Job, Report, approval, index_files
from stepwell.cli.demo.proof import Proof, completed_steps, prove
from stepwell.cli.drawing import draw
from stepwell.cli.problems import DONE, FAILED, CommandError
from stepwell.runtime.app import Stepwell
from stepwell.runtime.handles import Handle

RUN = "demo"
_TEXT = {".py", ".md", ".toml", ".sql", ".txt", ".yml", ".yaml", ".html", ".js", ".css"}
_FILES_MAX = 400
_LANES = 4
_PATIENCE = 60.0


async def demo(arguments: Namespace) -> int:
    """Tell the story; 0 if the proof holds."""
    out = _clean_folder(arguments.dir)
    root = _root()
    files = _files(root)
    pause_ms = int(max(0.0, arguments.seconds) * 1000 * _LANES / len(files))
    job = Job(root=str(root), out=str(out), files=tuple(files), pause_ms=pause_ms)
    database = out / "stepwell.db"
    app = Stepwell(f"sqlite:///{database}", include=[index_files], worker=False)
    story = _Story(app, job, database)
    async with app:
        proof = await story.tell()
    story.what_next(proof)
    return DONE if proof.holds else FAILED


class _Story:
    """The acts of the demo, in order."""

    def __init__(self, app: Stepwell, job: Job, database: Path) -> None:
        self._app = app
        self._job = job
        self._database = database
        self._paint = paint_for(sys.stdout)
        self._is_live = is_terminal(sys.stdout)
        self._steps = len(job.files) + 1 + len(job.query)

    async def tell(self) -> Proof:
        job = self._job
        self._head(f"1. Index {len(job.files)} files of {job.root}: one durable step each, {_LANES} at a time")
        handle = await self._app.start(index_files, job, id=RUN)
        with self._worker() as worker:
            await self._watch(handle, worker, until=self._steps * 45 // 100)
            worker.kill()
            worker.wait()
        before = await self._completed()
        self._head(f"2. kill -9 {worker.pid}: the worker is dead, in the middle of its steps")
        self._say(f"The journal holds {len(before)} completed steps. Nobody works now.")
        await asyncio.sleep(0.5 if self._job.pause_ms else 0)
        with self._worker() as worker:
            self._head(f"3. A new worker, process {worker.pid}, finds the run and goes on")
            await self._watch(handle, worker, until=self._steps)
            self._head("4. The run waits for an approval, and would do so for days")
            self._say(f'$ stepwell send {RUN} approval \'{{"by": "you"}}\' --backend {self._url}')
            await handle.send(approval, Approval(by="you"), id="demo")
            report = await handle.result(timeout=_PATIENCE)
            worker.terminate()
            worker.wait()
        self._say(f"It has written {_shown(report.path)}: {report.files} files, {report.words} words; most often in:")
        for term, paths in report.hits.items():
            self._say(f"  {term:8} {', '.join(paths) or 'nowhere'}")
        await self._draw()
        return await self._prove(before)

    # --- acts

    @contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A real worker in a process of its own."""
        command = [sys.executable, "-m", "stepwell", "worker", "stepwell.cli.demo.flow:app"]
        command += ["--backend", self._app.url]
        with (Path(self._job.out) / "worker.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    async def _watch(self, handle: Handle[Report], worker: subprocess.Popen[bytes], *, until: int) -> None:
        """Show how the steps add up, until so many are in the journal."""
        done, told = -1, 0
        begin = self._app.backend.clock.monotonic()
        while done < until:
            await asyncio.sleep(0.05 if self._job.pause_ms else 0.005)
            done = len(await self._completed())
            if self._is_live:
                self._bar(done, worker.pid)
            elif done * 4 // self._steps > told:
                told = done * 4 // self._steps
                self._say(f"{done} of {self._steps} steps")
            if worker.poll() is not None or (await handle.head()).is_terminal:
                raise CommandError(f"the demo's worker stopped by itself; see {self._job.out}/worker.log", FAILED)
            if self._app.backend.clock.monotonic() - begin > _PATIENCE + self._job.pause_ms / 4:
                raise CommandError(f"the demo's worker is not moving; see {self._job.out}/worker.log", FAILED)
        if self._is_live:
            print()

    async def _completed(self) -> list[str]:
        _, frames = await self._app.client.journal((await self._app.runs.get(RUN)).id)
        return completed_steps(frames)

    async def _draw(self) -> None:
        self._head("5. What happened")
        timeline = await self._app.runs.timeline(RUN)
        now = self._app.backend.clock.now()
        for line in draw(timeline, None, now=now, columns=width(), paint=self._paint)[:-1]:
            print(line)

    async def _prove(self, before: list[str]) -> Proof:
        self._head("6. The proof: every step had written a line to a log when it ran")
        _, frames = await self._app.client.journal((await self._app.runs.get(RUN)).id)
        proof = prove(before, frames, Path(self._job.out) / EFFECTS)
        self._say(f"{proof.before} steps were completed before the kill: {len(proof.repeated)} of them ran again")
        self._say(f"{len(proof.rerun)} were under way when it died and ran again: {', '.join(proof.rerun) or 'none'}")
        self._say(f"{proof.total} steps are completed now: {len(proof.missing)} of them left no line")
        verdict = "No completed step ran twice, and none is missing." if proof.holds else "The proof does NOT hold."
        self._say(self._paint(verdict, "green" if proof.holds else "red"))
        return proof

    def what_next(self, proof: Proof) -> None:
        """Where to go from here."""
        for id in (*proof.repeated, *proof.missing):
            self._say(f"  wrong: {id}")
        self._head("Try next")
        for command in (f"runs list --backend {self._url}", f"runs show {RUN} --all --backend {self._url}"):
            self._say(f"stepwell {command}")

    # --- telling

    @property
    def _url(self) -> str:
        return f"sqlite:///{_shown(str(self._database))}"

    def _head(self, text: str) -> None:
        print(f"\n{self._paint(text, 'bold')}", flush=True)

    def _say(self, text: str) -> None:
        print(f"   {text}", flush=True)

    def _bar(self, done: int, pid: int) -> None:
        room = 40
        filled = done * room // self._steps
        bar = self._paint("█" * filled, "green") + self._paint("░" * (room - filled), "dim")
        print(f"\r   {bar} {done}/{self._steps} steps, process {pid} ", end="", flush=True)


# --- where


def _clean_folder(given: str | None) -> Path:
    """The demo's folder, without what an earlier demo left there. Elsewhere, if nothing can be written here."""
    out = Path(given or Path(".stepwell") / "demo").resolve()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if given is None:
            (out.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        for name in ("stepwell.db", "stepwell.db-wal", "stepwell.db-shm", EFFECTS, INDEX, REPORT, "worker.log"):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        if given is not None:
            raise CommandError(f"{given} cannot be used for the demo: {error}") from None
        return Path(tempfile.mkdtemp(prefix="stepwell-demo-"))
    return out


def _root() -> Path:
    """The checkout that this package is part of; elsewhere, the package itself."""
    package = Path(stepwell.__file__).resolve().parent
    checkout = package.parent.parent
    return checkout if package.parent.name == "src" and (checkout / "pyproject.toml").exists() else package


def _files(root: Path) -> list[str]:
    """Text files in a fixed order; nothing hidden, nothing generated."""
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix in _TEXT and not any(part.startswith((".", "__pycache__")) for part in parts) and path.is_file():
            found.append("/".join(parts))
    return found[:_FILES_MAX]


def _shown(path: str) -> str:
    """Relative to here, where that is shorter."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path
