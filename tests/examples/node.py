"""A Node step worker in a process of its own, and the least of an orchestrator for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from msgspec import UNSET, Raw, UnsetType

from stepwell.formats.voyant.invocations import (
    Outcome,
    RunMetaIn,
    StepRequest,
    WireJournal,
    read_outcome,
    request_bytes,
)
from stepwell.formats.voyant.signing import sign_v1

WORKER = Path(__file__).parents[2] / "examples" / "node_worker.mjs"
BORN = 1770000000000
SECRET = b"between us"


class NodeWorker:
    """A process; it ends with the block."""

    def __init__(self, folder: Path, *, secret: bytes = SECRET) -> None:
        self.ledger = folder / "ledger"
        self.secret = secret
        env = {**os.environ, "PORT": "0", "STEP_SECRET": secret.decode(), "LEDGER": str(self.ledger)}
        self._process = subprocess.Popen(["node", str(WORKER)], env=env, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        port = self._process.stdout.readline().removeprefix("listening on ").strip()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        """Ask it."""
        signed = {"x-voyant-dispatch-auth": sign_v1(self.secret, body)} if self.secret else {}
        return self.http.post("/any/path", content=body, headers={**signed, **headers})

    def effects(self) -> list[str]:
        """What its steps did to the world, without the run's id."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [line.rpartition(":")[2] for line in lines]


class Drive:
    """A run: its journal, and what is new in it."""

    def __init__(self, worker: NodeWorker, workflow: str, input: Any, *, run: str = "run_1") -> None:
        self.worker = worker
        self.workflow = workflow
        self.input = input
        self.run = run
        self.count = 0
        self.journal: dict[str, Any] = {name: {} for name in _MAPS}

    def request(self) -> bytes:
        """The next one."""
        maps = {field: _raws(self.journal[name]) for name, field in _MAPS.items()}
        return request_bytes(
            StepRequest(
                run_id=self.run,
                workflow_id=self.workflow,
                workflow_version="1",
                invocation_count=self.count,
                input=Raw(json.dumps(self.input).encode()),
                journal=WireJournal(**maps),
                tenant_meta=Raw(b'{"tenantId":"t","projectId":"p","organizationId":"o"}'),
                run_meta=RunMetaIn(started_at=BORN),
            )
        )

    def go(self) -> Outcome:
        """Invoke the body once, and take over its journal."""
        self.count += 1
        answer = self.worker.post(self.request())
        assert answer.status_code == 200, answer.text
        self.journal = answer.json()["journal"]
        return read_outcome(answer.content)

    def resolve(self, id: str, payload: Any = UNSET, **more: Any) -> None:
        """A wait is over."""
        has: Any = {} if isinstance(payload, UnsetType) else {"payload": payload}
        kind = _KINDS[id.partition(":")[0]]
        entry = {"kind": kind, "resolvedAt": BORN + 1000 * self.count, **has, "source": "live", **more}
        self.journal["waitpointsResolved"][id] = entry


_KINDS = {"sleep": "DATETIME", "signal": "SIGNAL", "event": "EVENT", "token": "MANUAL", "invoke": "RUN"}
_MAPS = {
    "stepResults": "step_results",
    "waitpointsResolved": "waitpoints_resolved",
    "compensationsRun": "compensations_run",
    "metadataState": "metadata_state",
    "streamsCompleted": "streams_completed",
}


def _raws(entries: dict[str, Any]) -> dict[str, Raw]:
    return {id: Raw(json.dumps(entry).encode()) for id, entry in entries.items()}
