"""The claims of one worker: what it tells the renewer, and what follows from a renewal."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepwell.model.ids import Claim, RunId
from stepwell.runtime.activation import Activation
from stepwell.runtime.observe import is_debugging
from stepwell.runtime.patience import until_answered
from stepwell.runtime.renewal import Held
from stepwell.runtime.telemetry import LetGo

if TYPE_CHECKING:
    from stepwell.runtime.worker import Worker

_log = logging.getLogger("stepwell")
_NAMED_MAX = 5


class Leases:
    """The lease book of a worker. `claims` is also called from the renewing thread."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def claims(self) -> Sequence[Held]:
        """All claims."""
        return [
            Held(item.run, item.driver.claim, item.lease_ends, item.lease_ms)
            for item in list(self._worker.active.values())
        ]

    def first_end(self) -> float | None:
        """When (monotonic seconds) the first lease ends, as far as this worker trusts it."""
        return min((item.lease_ends for item in self._worker.active.values()), default=None)

    def running_steps(self) -> Sequence[str]:
        """Some of the steps under way, by run."""
        return [f"{item.run}/{id}" for item in self._worker.active.values() for id in item.running][:10]

    def renewed(self, results: Sequence[tuple[RunId, Claim, int | None]], lease_ends: float) -> None:
        """What a renewal answered: the mail count of each run, or None where it was lost."""
        lost = []
        for run, claim, mail in results:
            activation = self._worker.active.get(run)
            if activation is None or activation.driver.claim != claim:
                continue
            if mail is None:
                lost.append(activation)
            else:
                activation.lease_ends = lease_ends
                activation.mail_arrived(mail)
        self._stop(lost, "taken", "other workers have taken")

    def check_leases(self) -> None:
        """Stop runs whose lease may have ended."""
        if is_debugging():
            return
        now = self._worker.clock.monotonic()
        late = [item for item in self._worker.active.values() if item.lease_ends <= now]
        self._stop(late, "late", "no lease could be renewed in time for")

    def _stop(self, activations: Sequence[Activation], how: LetGo, why: str) -> None:
        """Stop driving them. One line for all: a worker that was stopped, or has no backend, loses all it holds."""
        if not activations:
            return
        named = ", ".join(item.run for item in activations[:_NAMED_MAX])
        more = "" if len(activations) <= _NAMED_MAX else ", ..."
        _log.warning("%s %d runs (%s%s); their steps here are stopped", why, len(activations), named, more)
        for activation in activations:
            self._worker.let_go(activation, how)
            self._worker.drop(activation)

    async def extend(self, activation: Activation) -> bool:
        """Renew at once, for as long as the activation now asks. Whether the run is still this worker's."""
        worker = self._worker
        claim = (activation.run, activation.driver.claim)

        async def renew() -> None:
            ends = worker.clock.monotonic() + (activation.lease_ms - worker.options.margin_ms) / 1000
            (mail,) = await worker.backend.store.renew([claim], activation.lease_ms)
            self.renewed([(*claim, mail)], ends)

        what = f"run {activation.run}, extending its lease"
        await until_answered(what, renew, is_wanted=lambda: not activation.is_gone)
        return not activation.is_gone
