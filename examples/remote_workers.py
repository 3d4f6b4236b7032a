"""Workflows whose code lives elsewhere: a Node worker and a Python worker behind one orchestrator, all of them killed
at random, and every result right in the end."""

import asyncio
import os
import random
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn

from stepwell import (
    Context,
    Handle,
    RemoteWorkflow,
    Retry,
    RunError,
    Signal,
    Stepwell,
    Target,
    step,
    workflow,
)

HERE = Path(__file__).parent
SECRET = "only the orchestrator and its workers know this"
CARDS = ["good", "shaky", "refused", "good", "good", "shaky", "good", "shaky", "good", "good"]
NOT_APPROVED = 4
HASTE = Retry(
    attempts=100, first_delay="50ms", max_delay="500ms"
)  # of a target that does not answer; by default patient


# --- the Python worker: workflows like any others, served to an orchestrator


@step
async def weigh(kilos: int) -> int:
    return kilos + 1


@step
async def print_label(booking: str) -> str:
    effect(f"{booking}:label")
    return f"label-{booking}"


@workflow(id="parcel.ship")
async def ship(ctx: Context, order: dict[str, Any]) -> str:
    weight, label = await asyncio.gather(weigh(order["kilos"]), print_label(order["booking"]))
    await ctx.sleep("50ms")
    return f"{label}, {weight} kg"


def effect(line: str) -> None:
    """What a step does to the world. As in the other worker, the line is the same if the step runs again."""
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(f"{line}\n")


def serve(listener: socket.socket) -> None:
    application = Stepwell(include=[ship]).step_worker(secret=SECRET)  # for any ASGI server
    print("serving", flush=True)
    uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])


# --- the orchestrator: it knows names and addresses

Invoice: RemoteWorkflow[Any, dict[str, Any]] = RemoteWorkflow(
    "invoice.issue", output=dict[str, Any], worker_retry=HASTE
)
Watch: RemoteWorkflow[Any, int] = RemoteWorkflow("watch.count", output=int, worker_retry=HASTE)
Parcel: RemoteWorkflow[Any, str] = RemoteWorkflow("parcel.ship", output=str, worker_retry=HASTE)
approve = Signal("approve", dict[str, bool])
tick = Signal("tick", dict[str, int])


def orchestrator(url: str, node: str, python: str) -> Stepwell:
    targets = [
        Target(node, workflows=["invoice.issue", "watch.count"], secret=SECRET, concurrency=3),
        Target(python, workflows=["parcel.ship"], secret=SECRET, concurrency=3),
    ]
    return Stepwell(url, include=[Invoice, Watch, Parcel], targets=targets, worker=False)


async def work(app: Stepwell) -> None:
    print("working", flush=True)
    await app.worker(concurrency=20).run()


async def run_all(app: Stepwell) -> list[Any]:
    """Invoices that are approved, one that is not, one whose card is refused; and somebody who counts."""
    invoices = [
        await app.start(Invoice, {"booking": f"bk{n}", "nights": n, "card": card}, id=f"invoice-{n}")
        for n, card in enumerate(CARDS)
    ]
    watch = await app.start(Watch, {"until": len(CARDS)}, id="watch")
    for n, invoice in enumerate(invoices):
        await asyncio.sleep(0.2)
        await watch.send(tick, {"by": 1})
        await invoice.send(approve, {"ok": n != NOT_APPROVED})
    handles: list[Handle[Any]] = [*invoices, watch]
    return await asyncio.gather(*(handle.result(timeout="45s") for handle in handles), return_exceptions=True)


def check(results: list[Any], effects: set[str]) -> None:
    expected = {f"invoice-{n}:reserve" for n in range(len(CARDS))}
    for n, (card, result) in enumerate(zip(CARDS, results, strict=False)):
        if card == "refused" or n == NOT_APPROVED:
            assert isinstance(result, RunError), result
            assert ("card refused" if card == "refused" else "undid its steps") in str(result)
            expected |= {f"invoice-{n}:release"}
        else:
            parcel = f"label-bk{n}, {n + 1} kg"
            invoice = {"invoice": f"inv-bk{n}", "total": n * 80, "receipt": f"charge:invoice-{n}", "parcel": parcel}
            assert result == invoice, result
            expected |= {f"invoice-{n}:charge", f"bk{n}:label"}
    assert results[-1] == len(CARDS), results[-1]
    assert effects == expected, effects ^ expected


# --- processes that die


class Process:
    """A program that is killed some time after it says that it is there, and started again. After `deaths` of them it
    may live."""

    def __init__(self, deaths: int, *command: str, listener: socket.socket | None = None, **env: str) -> None:
        self.command = command
        self.deaths_left = deaths
        self._env = {**os.environ, "STEP_SECRET": SECRET, **env}
        self._fds = () if listener is None else (listener.fileno(),)

    async def live(self, chance: random.Random) -> None:
        while True:
            process = await asyncio.create_subprocess_exec(
                *self.command, env=self._env, pass_fds=self._fds, stdout=asyncio.subprocess.PIPE
            )
            try:
                assert process.stdout is not None
                await process.stdout.readline()
                await asyncio.sleep(chance.uniform(0.1, 0.8) if self.deaths_left > 0 else 3600)
            finally:
                process.kill()  # SIGKILL: no goodbye
                await process.wait()
            self.deaths_left -= 1


async def main() -> None:
    folder = Path(tempfile.mkdtemp())
    url, ledger = f"sqlite:///{folder}/runs.db", folder / "ledger"
    # The sockets are ours: who connects while a worker is started again waits, and is not refused.
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        node, python = (f"http://127.0.0.1:{listener.getsockname()[1]}/step" for listener in (one, two))
        worker, me = str(HERE / "node_worker.mjs"), [sys.executable, __file__]
        processes = [
            Process(4, "node", worker, listener=one, LISTEN_FD=f"{one.fileno()}", LEDGER=f"{ledger}"),
            Process(2, *me, "serve", f"{two.fileno()}", listener=two, LEDGER=f"{ledger}"),
            Process(2, *me, "work", url, node, python),
        ]
        async with asyncio.TaskGroup() as group, orchestrator(url, node, python) as app:
            lives = [group.create_task(process.live(random.Random())) for process in processes]
            results = await run_all(app)
            for life in lives:
                life.cancel()
    check(results, set(ledger.read_text().split()))
    print(*results, sep="\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", fd]:
            serve(socket.socket(fileno=int(fd)))
        case ["work", url, node, python]:
            asyncio.run(work(orchestrator(url, node, python)))
        case _:
            asyncio.run(main())
