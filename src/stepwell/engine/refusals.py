"""What a workflow body cannot do: the methods of an event loop that reach the world, each of them refused.

A refusal is raised, and kept in the loop as well, so that a body that swallows it fails its activation all the same.
"""

from __future__ import annotations

import asyncio
import threading
from types import CodeType
from typing import Any, NoReturn

from stepwell.engine.places import calling_frames, place_of
from stepwell.engine.tasks import WorkflowFuture
from stepwell.errors import ActivationError, NotDurableError

_PATIENCE = 100
"""How many refused calls raise, before further ones wait for ever instead: the way out of `while True: try`."""

_WORLD = "it would not survive a crash, so do this in a step"
_CONTROL = "a workflow body does not control its loop"


def _refused(name: str, why: str = _WORLD) -> Any:
    def refuse(self: RefusingLoop, *_args: object, **_kwargs: object) -> Any:
        return self._refuse_call(f"loop.{name}()", why)

    refuse.__name__ = name
    return refuse


def _refused_to_threads(self: RefusingLoop, *_args: object, **_kwargs: object) -> Any:
    """In a thread that the body started somehow, raising would only print a traceback; the loop keeps the error.

    A worker thread of anyio is told to stop: it waits for the task that started it, and Python would wait for it.
    """
    try:
        return self._refuse_call("loop.call_soon_threadsafe()", _WORLD)
    except NotDurableError:
        if asyncio._get_running_loop() is self:
            raise
        return WorkflowFuture(loop=self)
    finally:
        stop = getattr(threading.current_thread(), "stop", None)
        if stop is not None and asyncio._get_running_loop() is None:
            stop()


class RefusingLoop(asyncio.AbstractEventLoop):
    """A loop without a world. While it is evicting, nothing raises: what is refused just never completes."""

    _bottom: CodeType
    """The code whose frame lies under those of the body."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.evicting = False
        self.violation: ActivationError | None = None
        self._refusals = 0

    def refuse(self, error: ActivationError) -> NoReturn:
        """Raise the error in the body, and from `pump` even if the body swallows it."""
        self._record(error)
        raise error

    def place(self) -> str:
        """The line of user code that is executing."""
        return place_of(calling_frames(self._bottom))

    def _record(self, error: ActivationError) -> None:
        if self.violation is None and not self.evicting:
            self.violation = error

    def _refuse_call(self, call: str, why: str) -> Any:
        if not self.evicting:
            error = NotDurableError(f"run {self.name}: {call} at {self.place()}: {why}")
            self._record(error)
            self._refusals += 1
            if self._refusals <= _PATIENCE:
                raise error
        return WorkflowFuture(loop=self)

    run_forever = _refused("run_forever", _CONTROL)
    run_until_complete = _refused("run_until_complete", _CONTROL)
    stop = _refused("stop", _CONTROL)
    close = _refused("close", _CONTROL)
    set_task_factory = _refused("set_task_factory", _CONTROL)
    set_default_executor = _refused("set_default_executor")
    run_in_executor = _refused("run_in_executor")
    call_soon_threadsafe: Any = _refused_to_threads
    add_signal_handler = _refused("add_signal_handler")
    remove_signal_handler = _refused("remove_signal_handler")
    add_reader = _refused("add_reader")
    remove_reader = _refused("remove_reader")
    add_writer = _refused("add_writer")
    remove_writer = _refused("remove_writer")
    getaddrinfo = _refused("getaddrinfo")
    getnameinfo = _refused("getnameinfo")
    create_connection = _refused("create_connection")
    create_server = _refused("create_server")
    create_unix_connection = _refused("create_unix_connection")
    create_unix_server = _refused("create_unix_server")
    create_datagram_endpoint = _refused("create_datagram_endpoint")
    connect_accepted_socket = _refused("connect_accepted_socket")
    connect_read_pipe = _refused("connect_read_pipe")
    connect_write_pipe = _refused("connect_write_pipe")
    start_tls = _refused("start_tls")
    sendfile = _refused("sendfile")
    sock_accept = _refused("sock_accept")
    sock_connect = _refused("sock_connect")
    sock_recv = _refused("sock_recv")
    sock_recv_into = _refused("sock_recv_into")
    sock_recvfrom = _refused("sock_recvfrom")
    sock_recvfrom_into = _refused("sock_recvfrom_into")
    sock_sendall = _refused("sock_sendall")
    sock_sendfile = _refused("sock_sendfile")
    sock_sendto = _refused("sock_sendto")
    subprocess_exec = _refused("subprocess_exec")
    subprocess_shell = _refused("subprocess_shell")
