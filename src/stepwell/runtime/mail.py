"""The messages that a worker's runs have and have not journaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.model.entries import Received
from stepwell.ports import MAX_SEQ, Wanted
from stepwell.runtime.patience import until_answered
from stepwell.runtime.payloads import loaded_mail

if TYPE_CHECKING:
    from stepwell.runtime.activation import Activation
    from stepwell.runtime.worker import Worker


async def load_mail(activation: Activation) -> list[Received]:
    """The messages that the run has not journaled."""
    backend = activation.worker.backend
    (loaded,) = await backend.store.load([Wanted(activation.run, MAX_SEQ, activation.driver.mail)])
    return [] if loaded is None else await loaded_mail(backend.blobs, loaded.mail)


async def fetch_all_mail(worker: Worker) -> None:
    """Tell every run that the worker holds how many messages it has: somebody rang, and did not say for whom."""
    activations = list(worker.active.values())
    wanted = [Wanted(item.run, MAX_SEQ, MAX_SEQ) for item in activations]
    load = worker.backend.store.load
    found = await until_answered("looking for mail", lambda: load(wanted), is_wanted=lambda: bool(worker.active))
    for activation, loaded in zip(activations, found or (), strict=False):
        if loaded is not None:
            activation.mail_arrived(loaded.head.mail)
