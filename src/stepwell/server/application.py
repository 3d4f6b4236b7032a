"""The server: an ASGI application over an app.

One object per request line: find the endpoint, admit the caller, read the body, call the handler, answer. Whatever goes
wrong on the way becomes a `Problem`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any

from stepwell.errors import DefinitionError, StepwellError
from stepwell.runtime.app import Stepwell
from stepwell.runtime.logs import REQUEST_ID
from stepwell.server.access import Access
from stepwell.server.catalogue import ENDPOINTS
from stepwell.server.cors import Cors
from stepwell.server.deadlines import Deadlines
from stepwell.server.endpoints import Answer, Call, Endpoint, EventStream, encoded
from stepwell.server.feeds import Feeds
from stepwell.server.gate import ClientGone, admit, check_headers, is_still_admitted, read_body
from stepwell.server.options import ServerOptions
from stepwell.server.patience import Patience
from stepwell.server.problems import JSON_TYPE, PROBLEM_TYPE, Problem, problem_of
from stepwell.server.routing import Routes
from stepwell.server.seeing import Seeing
from stepwell.server.sse import send_events

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("stepwell.server")
_REQUEST_ID_MAX = 100
_UNLESS_GIVEN = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Server:
    """The ASGI application. It opens the app if nobody has, and serves what the app's backend holds.

    With `worker`, it also drives runs, in every namespace that it serves.
    """

    def __init__(self, app: Stepwell, options: ServerOptions, *, worker: bool | None = None) -> None:
        if app.namespace:
            raise DefinitionError(
                f"a server serves all namespaces of a backend, and this app is in {app.namespace!r} alone: leave out "
                f"namespace=, and make keys for it: stepwell keys create --namespace {app.namespace}"
            )
        self.app = app
        self.options = options
        self.routes = Routes(ENDPOINTS)
        self.feeds = Feeds()
        self.patience = Patience()
        self._cors = Cors(options.cors_origins)
        self.streams = 0
        self.in_flight = 0
        self.is_draining = False
        self.seeing = Seeing(self)
        self.deadlines = Deadlines(min(1.0, options.body_timeout / 4, options.request_timeout / 4))
        self._access: Access | None = None
        self._opening = asyncio.Lock()
        self._with_worker = worker
        self._drained = asyncio.Event()
        self._streaming: dict[asyncio.Future[None], Call | None] = {}
        self._requests = 0
        self._request_prefix = ""

    # --- life

    @property
    def access(self) -> Access:
        """Keys, tokens and the audit log."""
        assert self._access is not None, "requests wait for it"
        return self._access

    async def open(self) -> None:
        """Open what requests need; the app must be open. Repeating does nothing."""
        async with self._opening:
            if self._access is not None:
                return
            stack = AsyncExitStack()
            stack.push_async_callback(self.feeds.aclose)
            access = await stack.enter_async_context(
                Access.open(self.app, dev=self.options.dev, audit_keep_days=self.options.audit_keep_days)
            )
            self.seeing.begin()
            self.seeing.watch(self.app)
            self._request_prefix = self.app.backend.clock.random_bytes(6).hex()
            self.app.on_close(self._closing(stack))
            access.on_change = self._end_refused
            self._access = access
            if self._with_worker:
                for namespace in sorted({*self.options.namespaces, *access.namespaces()}):
                    await self.app_of(namespace)

    def _closing(self, stack: AsyncExitStack) -> Callable[[], Awaitable[None]]:
        async def close() -> None:
            self._access = None
            await stack.aclose()

        return close

    def _end_refused(self) -> None:
        """Keys have changed: whose key or token counts no more, follows no longer."""
        for gone, call in list(self._streaming.items()):
            if call is not None and call.endpoint.scope is not None and not is_still_admitted(self, call):
                _finish(gone)

    def drain(self) -> None:
        """Take no new requests, answer those that wait for something, and end event streams: their clients come again,
        elsewhere."""
        self.is_draining = True
        self.patience.end()
        for gone in list(self._streaming):
            _finish(gone)
        self._check_drained()

    async def drained(self) -> None:
        """Wait, for a bounded time, until every request has its answer."""
        self.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain):
                await self._drained.wait()

    def _check_drained(self) -> None:
        if self.is_draining and not self.in_flight:
            self._drained.set()

    # --- namespaces

    def serves(self, namespace: str) -> bool:
        """Whether there is such a namespace here: one that a key names, or the options."""
        return not namespace or namespace in self.options.namespaces or namespace in self.access.namespaces()

    async def app_of(self, namespace: str) -> Stepwell:
        """The app of a namespace, with a worker if this server has one."""
        if namespace == self.app.namespace:
            app = self.app
        else:
            app = self.app.in_namespace(namespace)
            self.seeing.watch(app)
        if self._with_worker:
            app.ensure_worker(True)
        return app

    # --- requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        stack = AsyncExitStack()
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await stack.enter_async_context(self.app)
                    await self.open()
                except Exception as error:
                    await stack.aclose()
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.drained()
                await stack.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        exchange = _Exchange(self, scope, receive, self._cors.sending(scope, send))
        self.in_flight += 1
        try:
            await exchange.run()
        finally:
            self.in_flight -= 1
            self._check_drained()
            if exchange.status:
                seconds = clock() - begun
                self.seeing.metrics.observe_request(exchange.route, scope["method"], exchange.status, seconds)

    def new_request_id(self) -> str:
        """An id for a request that came without one."""
        self._requests += 1
        return f"{self._request_prefix}-{self._requests:x}"


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_call", "_path", "_receive", "_request_id", "_scope", "_send", "_server", "route", "status")

    def __init__(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        self._server = server
        self._scope = scope
        self._receive = receive
        self._send = send
        self._call: Call | None = None
        self._path = _path(scope)
        self._request_id = ""
        self.status = 0
        self.route = ""
        """The path as it was declared; empty if the request was for none."""

    async def run(self) -> None:
        """Answer, whatever happens."""
        try:
            answer = await self._answered()
        except ClientGone:
            return
        except Problem as problem:
            answer = self._problem(problem)
        except StepwellError as error:
            answer = self._problem(problem_of(error), error)
        except TimeoutError:
            answer = self._problem(
                Problem(503, "timeout", "the server did not get it done in time; it may be done all the same")
            )
        except Exception as error:
            _log.exception("%s %s failed", self._scope["method"], self.route or self._path)
            answer = self._problem(problem_of(StepwellError(str(error))))
        if isinstance(answer, EventStream):
            await self._stream(answer)
        else:
            await self._audit(answer.status)
            await self._reply(answer)

    async def _answered(self) -> Answer | EventStream:
        server, scope = self._server, self._scope
        check_headers(server, scope)
        if scope["method"] == "OPTIONS":
            return Answer(status=204)
        endpoint, path = self._find()
        self.route = endpoint.path
        if server._access is None and not endpoint.needs_nothing:
            await _opened(server)
        call = self._call = Call(server, endpoint, scope, path)
        call.request_id = self._request_id = _request_id(call) or server.new_request_id()
        REQUEST_ID.set(call.request_id)
        if server.is_draining and endpoint.scope is not None:
            raise Problem(503, "draining", "this server is stopping; try again", headers={"retry-after": "1"})
        await admit(server, call)
        deadline = server.deadlines.begin(server.options.body_timeout)
        is_read = endpoint.method in ("GET", "HEAD")
        try:
            if not is_read:
                call.raw_body = await read_body(server, call, self._receive)
                is_read = True
            server.deadlines.move(deadline, server.options.request_timeout)
            return await endpoint.handler(call)
        except asyncio.CancelledError:
            if not server.deadlines.is_late(deadline):
                raise
            if is_read:
                raise TimeoutError from None
            text = f"the body did not arrive within {server.options.body_timeout:g} s"
            raise Problem(408, "body_too_slow", text, headers={"connection": "close"}) from None
        finally:
            server.deadlines.end(deadline)

    def _find(self) -> tuple[Endpoint, Any]:
        try:
            return self._server.routes.find(self._scope["method"], self._path)
        except Problem as found:
            problem = found
            if self._server.options.strict_routing and _is_on_run(self._path):
                suffix = "/" + self._path.split("/", 4)[-1]
                problem = Problem(400, "route_not_found", f"unknown path suffix {suffix}")
                problem.is_compat = True
            raise problem from None

    def _problem(self, problem: Problem, error: StepwellError | None = None) -> Answer:
        if problem.status >= 500 and error is not None:
            _log.error("%s %s: %s", self._scope["method"], self.route or self._path, error)
        is_compat = problem.is_compat or (self._call is not None and self._call.endpoint.is_compat)
        return Answer(
            body=problem.body(is_compat=is_compat, instance=self._request_id),
            status=problem.status,
            headers=problem.headers,
            content_type=JSON_TYPE if is_compat else PROBLEM_TYPE,
        )

    async def _audit(self, status: int) -> None:
        call = self._call
        if call is None or (call.endpoint.scope in (None, "read") and status not in (401, 403)):
            return
        endpoint = call.endpoint
        await self._server.access.record(
            call.caller,
            action=f"{endpoint.method} {endpoint.path}",
            path=dict(call.path),
            status=status,
            address=call.client_address,
            request_id=call.request_id,
        )

    async def _reply(self, answer: Answer) -> None:
        body = encoded(answer.body)
        headers = self._headers(answer, len(body))
        self.status = answer.status
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._scope["method"] == "HEAD" else body})

    def _headers(self, answer: Answer, length: int) -> list[tuple[bytes, bytes]]:
        given = {name.lower(): text for name, text in answer.headers.items()}
        headers = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in given.items()]
        headers += [item for item in _UNLESS_GIVEN if item[0].decode() not in given] if given else _UNLESS_GIVEN
        if answer.status != 204:
            headers += [
                (b"content-type", answer.content_type.encode("latin-1")),
                (b"content-length", str(length).encode()),
            ]
        if self._request_id:
            headers.append((b"x-request-id", self._request_id.encode("latin-1")))
        return headers

    # --- streams

    async def _stream(self, answer: EventStream) -> None:
        server = self._server
        if server.streams >= server.options.max_streams:
            text = f"{server.options.max_streams} event streams are open; try again later"
            await answer.events.aclose()
            await self._reply(self._problem(Problem(503, "too_many_streams", text, headers={"retry-after": "5"})))
            return
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        listener = loop.create_task(self._until_gone(gone))
        expiry = self._expiry(gone)
        server.streams += 1
        server._streaming[gone] = self._call
        try:
            await self._audit(200)
            self.status = 200
            shape = Answer(content_type="text/event-stream; charset=utf-8", headers={"x-accel-buffering": "no"})
            headers = [item for item in self._headers(shape, 0) if item[0] != b"content-length"]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            if self._scope["method"] != "HEAD":
                await send_events(answer.events, self._send, ping=server.options.ping, gone=gone)
            await self._send({"type": "http.response.body", "body": b""})
        except (StepwellError, Problem) as error:
            # The answer has begun; a client that comes again is told.
            _log.warning("an event stream of %s was cut off: %s", self._path, error)
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            server.streams -= 1
            del server._streaming[gone]
            listener.cancel()
            if expiry is not None:
                expiry.cancel()
            await answer.events.aclose()

    async def _until_gone(self, gone: asyncio.Future[None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        _finish(gone)

    def _expiry(self, gone: asyncio.Future[None]) -> asyncio.TimerHandle | None:
        """Nobody follows for longer than their key or token is valid."""
        if self._call is None or self._call.caller.expires_at is None:
            return None
        left_ms = self._call.caller.expires_at - self._server.app.backend.clock.now()
        return asyncio.get_running_loop().call_later(max(0, left_ms) / 1000, _finish, gone)


def _finish(gone: asyncio.Future[None]) -> None:
    if not gone.done():
        gone.set_result(None)


async def _opened(server: Server) -> None:
    """Mounted in another application, nobody tells the server to start: the first request does."""
    if not server.app.is_open:
        text = "the app is not open: give the application that mounts this `lifespan=app.lifespan()`"
        raise Problem(503, "not_open", text)
    await server.open()


def _path(scope: Scope) -> str:
    """The path within this application, which may be mounted below another."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) or "/" if (root and path.startswith(f"{root}/")) or path == root else path


def _is_on_run(path: str) -> bool:
    parts = path.split("/")
    return len(parts) >= 4 and parts[1:3] == ["api", "runs"] and bool(parts[3])


def _request_id(call: Call) -> str | None:
    given = call.header("x-request-id")
    if given is None or not 1 <= len(given) <= _REQUEST_ID_MAX or not given.isascii() or not given.isprintable():
        return None
    return given
