"""What `stepwell serve` does once it is known that the libraries for it are there."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import socket
from argparse import Namespace
from asyncio import FIRST_COMPLETED
from typing import Any, cast

import msgspec
from msgspec import Struct

from stepwell.cli.config import Settings, without_password, worker_flags
from stepwell.cli.console import begin_logging, note
from stepwell.cli.interrupts import Interrupts
from stepwell.cli.listening import bound_socket, inherited_socket, is_loopback, url_of
from stepwell.cli.places import opened_app, worked_app
from stepwell.cli.problems import CommandError
from stepwell.cli.transport import Http
from stepwell.runtime.app import Stepwell
from stepwell.runtime.observe import settle_gc
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.working import WorkerKeywords, configure_url, configure_worker, hurry_workers
from stepwell.server import Server, ServerOptions

_log = logging.getLogger("stepwell.server")


class Job(Struct, frozen=True):
    """What is served, where, and how."""

    app: Stepwell
    options: ServerOptions
    settings: Settings
    listener: socket.socket
    has_worker: bool


async def serve_until_told(arguments: Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. A second signal hurries, a third ends the process."""
    settings = Settings.load(arguments.config).over(_flags(arguments))
    begin_logging(settings.get("log_format"))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with Interrupts(leaves_at=3) as interrupts:
        if arguments.parent:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which says when to stop
        watching = asyncio.create_task(_when_orphaned(arguments.parent, interrupts))
        job = _job(arguments, settings)
        if job.options.dev:
            logging.getLogger("stepwell.audit").setLevel(logging.WARNING)  # nobody else is there
        try:
            with job.listener:
                await _open_and_serve(job, interrupts, arguments.ready_fd)
        finally:
            watching.cancel()
    if arguments.parent is None:
        _say(settings, "stopped; runs that have not ended go on with the next worker" if job.has_worker else "stopped")


# --- what was asked for


def _flags(arguments: Namespace) -> dict[str, Any]:
    return worker_flags(arguments) | {
        "server.host": arguments.host,
        "server.port": arguments.port,
        "server.public_url": arguments.public_url,
        "server.access_log": arguments.access_log,
        "server.behind_proxy": arguments.behind_proxy and tuple(arguments.behind_proxy),
        "server.cors_origins": arguments.cors_origin and tuple(arguments.cors_origin),
        "server.namespaces": arguments.served and tuple(arguments.served),
    }


def _job(arguments: Namespace, settings: Settings) -> Job:
    names = {field.name for field in msgspec.structs.fields(ServerOptions)}
    given = {name: value for name, value in settings.given("server").items() if name in names}
    options = ServerOptions(**given, dev=arguments.dev)
    app, has_worker = _app(settings, arguments.worker)
    if arguments.fd is None:
        listener = bound_socket(settings.get("server.host"), settings.get("server.port"))
    else:
        listener = inherited_socket(arguments.fd)
    if options.dev and not is_loopback(listener):
        url = url_of(listener)
        listener.close()
        raise CommandError(
            f"--dev asks nobody for a key, so it is for connections from this machine alone, and not for {url}: give "
            "--host 127.0.0.1, or leave out --dev and make a key with `stepwell keys create`"
        )
    public_url = settings.get("server.public_url")
    configure_url(app, public_url.rstrip("/") or url_of(listener), given=bool(public_url))
    return Job(app, options, settings, listener, has_worker)


def _app(settings: Settings, wants_worker: bool | None) -> tuple[Stepwell, bool]:
    """The app, and whether to work for it."""
    if not settings.get("app") and not settings.targets:
        if wants_worker:
            raise CommandError("--worker needs code: name the app, as MODULE:app or FILE.py")
        return opened_app(None, settings=settings), False
    app = worked_app(settings)
    has_worker = wants_worker is not False
    configure_worker(app, has_worker, cast(WorkerKeywords, settings.given("worker")))
    return app, has_worker


# --- serving


async def _open_and_serve(job: Job, interrupts: Interrupts, ready_fd: int | None) -> None:
    """With the app open. When it closes, a second signal lets the worker wait for no step any longer."""
    await job.app.__aenter__()
    try:
        server = Server(job.app, job.options, worker=job.has_worker)
        await server.open()
        job.app.ensure_worker(job.has_worker)
        settle_gc(WorkerOptions().gc_threshold)
        http = Http(server, job.settings, max_headers=job.options.max_headers, drain=job.options.drain)
        await http.serve_until(job.listener, interrupts, lambda: _tell_ready(job, http.application, ready_fd))
    finally:
        closing = asyncio.create_task(job.app.__aexit__())
        hurried = asyncio.create_task(interrupts.hurried.wait())
        await asyncio.wait([closing, hurried], return_when=FIRST_COMPLETED)
        while not closing.done():
            hurry_workers(job.app)
            await asyncio.wait([closing], timeout=0.05)
        hurried.cancel()
        await closing


async def _when_orphaned(parent: int | None, interrupts: Interrupts) -> None:
    """Stop when the process that started this one is gone."""
    if parent is not None and os.name != "nt":
        while os.getppid() == parent:
            await asyncio.sleep(0.5)
        interrupts.asked.set()


# --- telling


def _tell_ready(job: Job, server: Server, ready_fd: int | None) -> None:
    app, backend, url = job.app, without_password(job.app.backend.url), url_of(job.listener)
    count = len({workflow.id for workflow in app.registry.workflows()})
    facts = {"url": url, "backend": backend, "workflows": count, "worker": job.has_worker, "pid": os.getpid()}
    workflows = "1 workflow" if count == 1 else f"{count or 'no'} workflows"
    mode = "; dev: no key is needed" if job.options.dev else ""
    what = f"{workflows}, {'a worker' if job.has_worker else 'no worker'}{mode}"
    _say(job.settings, f"{url} serves {backend}: {what}; Ctrl-C or SIGTERM drains", facts)
    if not job.options.dev and not server.access.keys.all():
        # Named, since the app may say where its runs are, and the other command does not know the app.
        command = f"stepwell keys create --scopes admin --backend {shlex.quote(backend)}"
        _say(job.settings, f"nobody has a key yet, so all are refused; make one with: {command}")
    if ready_fd is not None:
        with open(ready_fd, "wb") as told:
            told.write(msgspec.json.encode(facts) + b"\n")


def _say(settings: Settings, text: str, facts: dict[str, Any] | None = None) -> None:
    """On the terminal, or in the log if that is for programs."""
    if settings.get("log_format") == "json":
        _log.info(text, extra=facts)
    else:
        note(f"stepwell: {text}")
