"""What `stepwell step-worker` does once it is known that the libraries for it are there."""

from __future__ import annotations

import logging
import os
import socket
from argparse import Namespace

import msgspec

from stepwell.cli.config import Settings
from stepwell.cli.console import begin_logging, note
from stepwell.cli.interrupts import Interrupts
from stepwell.cli.listening import bound_socket, is_loopback, url_of
from stepwell.cli.places import worked_app
from stepwell.cli.problems import CommandError
from stepwell.cli.transport import Http
from stepwell.formats.voyant.headers import STEP_PATH
from stepwell.runtime.app import Stepwell
from stepwell.runtime.observe import settle_gc
from stepwell.runtime.options import WorkerOptions

_MAX_HEADERS = 32_768
_DRAIN_SECONDS = 10.0


async def serve_steps(arguments: Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. A second signal hurries, a third ends the process."""
    settings = Settings.load(arguments.config).over({"app": arguments.target, "log_format": arguments.log_format})
    begin_logging(settings.get("log_format"))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with Interrupts(leaves_at=3) as interrupts:
        app = worked_app(settings, keeps_runs=False)
        worker = app.step_worker(
            secret=_secrets(arguments.secret_env),
            require_v2=arguments.require_v2,
            concurrency=arguments.concurrency,
            drain=_DRAIN_SECONDS,
        )
        with bound_socket(arguments.host, arguments.port) as listener:
            _check_who_reaches_it(listener, arguments)
            await worker.open()
            try:
                settle_gc(WorkerOptions().gc_threshold)
                http = Http(worker, settings, max_headers=_MAX_HEADERS, drain=_DRAIN_SECONDS)
                await http.serve_until(listener, interrupts, lambda: _tell_ready(app, listener, arguments))
            finally:
                await worker.aclose(drain=not interrupts.hurried.is_set())
    note("stepwell: stopped")


def _secrets(names: list[str]) -> list[str]:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise CommandError(f"--secret-env {missing[0]}: this environment variable is not set, or empty")
    return [os.environ[name] for name in names]


def _check_who_reaches_it(listener: socket.socket, arguments: Namespace) -> None:
    if not arguments.secret_env and not arguments.open and not is_loopback(listener):
        raise CommandError(
            f"without a secret, whoever reaches {url_of(listener)} may run these workflows: give --secret-env NAME, or "
            "--open if nobody else reaches it"
        )


def _tell_ready(app: Stepwell, listener: socket.socket, arguments: Namespace) -> None:
    workflows = sorted({workflow.id for workflow in app.registry.workflows()})
    url = f"{url_of(listener)}{STEP_PATH}"
    unsigned = "" if arguments.secret_env else "; no secret: requests need no signature"
    note(f"stepwell: {url} runs {', '.join(workflows) or 'nothing'}{unsigned}; Ctrl-C or SIGTERM drains")
    if arguments.ready_fd is not None:
        with open(arguments.ready_fd, "wb") as told:
            told.write(msgspec.json.encode({"url": url, "workflows": workflows, "pid": os.getpid()}) + b"\n")
