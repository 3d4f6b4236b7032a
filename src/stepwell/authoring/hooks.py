"""Hooks: waits that something outside completes, by URL or token, with a value or with an HTTP request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

from stepwell.engine.function import FunctionProgram
from stepwell.engine.mailbox import Address
from stepwell.errors import DefinitionError
from stepwell.formats.hooks import HookRequest, HookResponse, RecordedRequest, RecordedResponse
from stepwell.model.durations import Duration
from stepwell.model.entries import OpenHook, Received
from stepwell.model.ids import CommandId, answer_stream
from stepwell.model.messages import HookCompleted
from stepwell.model.tokens import HookOptions, make_token
from stepwell.model.values import Secret

if TYPE_CHECKING:
    from stepwell.authoring.context import Context

T = TypeVar("T")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TOKEN_MIN, _TOKEN_MAX = 8, 200


class HookKeywords(TypedDict, total=False):
    """The options of a hook.

    A custom `token` has 8 to 200 characters, and must not be held by another run: `HookError`. `timeout` counts from
    the creation. With `respond=True`, which needs `HookRequest`, who sends a request waits for `hook.respond`.
    `signed_by` names the secret with which requests are signed by the rules of Standard Webhooks; others are refused at
    the door. `methods` are the verbs that complete it: POST, PUT and PATCH unless said otherwise, because programs that
    look at links follow them with GET.
    """

    token: str | None
    timeout: Duration | None
    respond: bool
    signed_by: Secret | None
    methods: Sequence[str]


async def create_hook(context: Context, type: type[T], options: HookKeywords) -> Hook[T]:
    """What `Context.create_hook` does."""
    program = context._program
    door = door_of(type, options)
    token = options.get("token")
    id = program.new_id("hook")
    if token is None:
        token = make_token(program.origin.run, program.origin.base, id, program.origin.seed, door)
    else:
        check_token(token)
        await program.outside.act(id, OpenHook(token=token, options=door))
    timeout = options.get("timeout")
    return Hook(context, id, token, type, context._until(timeout, "create_hook(timeout)"))


def check_token(token: str) -> None:
    """Refuse a custom token that cannot be one. `DefinitionError`."""
    if not _TOKEN_MIN <= len(token) <= _TOKEN_MAX:
        raise DefinitionError(
            f"create_hook(token={token!r:.220}): a token has {_TOKEN_MIN} characters or more, up to {_TOKEN_MAX}"
        )


def door_of(type: Any, options: HookKeywords) -> HookOptions:
    """What the door of a hook must know, of these options. `DefinitionError`."""
    if unknown := sorted(set(options) - set(HookKeywords.__annotations__)):
        known = ", ".join(sorted(HookKeywords.__annotations__))
        raise DefinitionError(f"create_hook() has no option {unknown[0]!r}; there are: {known}")
    is_request, respond = type is HookRequest, options.get("respond", False)
    if respond and not is_request:
        raise DefinitionError("create_hook(respond=True): an answer is to a request: create_hook(HookRequest, ...)")
    secret = options.get("signed_by")
    if secret is not None and not isinstance(secret, Secret):
        raise DefinitionError("create_hook(signed_by=): give a Secret, which is the name of one")
    methods = tuple(options.get("methods", ()))
    if wrong := [method for method in methods if method not in _METHODS]:
        raise DefinitionError(f"create_hook(methods=): there is no {wrong[0]!r}; there are {', '.join(_METHODS)}")
    return HookOptions(
        request=is_request, respond=respond, signed_by=secret.name if secret is not None else "", methods=methods
    )


class Hook(Generic[T]):
    """A wait that something outside completes, by `url` or `token`."""

    def __init__(self, context: Context, id: CommandId, token: str, type: type[T], until: int | None) -> None:
        self._context = context
        self._id = id
        self._until = until
        self._decode: Callable[[Received], Any] = (
            _request_decoder(context, id) if type is HookRequest else context._decoder(type, f"hook {id}")
        )
        self.token = token

    @property
    def url(self) -> str:
        """Where to send the value, or the request, with HTTP. Who knows it can complete the hook."""
        return f"{self._context._registry.public_url}/hooks/{quote(self.token)}"

    def respond(self: Hook[HookRequest], request: HookRequest, response: HookResponse) -> None:
        """Answer a request of a hook with `respond=True`; once. Sent when it is durable, with the next frame.

        If it comes later than the server waits, or not at all, the sender is told that the request was taken.
        """
        if not request.id:
            raise DefinitionError(
                f"hook {self._id} can only answer a request that it gave, and {request!r:.200} is none"
            )
        if not isinstance(response, HookResponse):
            raise DefinitionError(f"hook.respond(request, {response!r:.100}): give a HookResponse")
        program: FunctionProgram = self._context._program
        stream = answer_stream(request.id)
        if program.notes.has_sent(stream):
            raise DefinitionError(f"the request {request.id} has been answered already")
        raw = self._context._registry.encode(
            RecordedResponse.of(response), RecordedResponse, what="the answer of a hook"
        )
        program.notes.send(stream, raw)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._next().__await__()

    def __aiter__(self) -> AsyncIterator[T]:
        return Each(self._next)

    async def _next(self) -> T:
        return await self._context._wait(  # type: ignore[no-any-return]
            Address("token", self._id), self._decode, until=self._until
        )


def _request_decoder(context: Context, id: CommandId) -> Callable[[Received], HookRequest]:
    decode = context._registry.codec.typed(RecordedRequest).decode
    where = f"hook {id}"

    def decoded(received: Received) -> HookRequest:
        message = received.message
        assert isinstance(message, HookCompleted), "addressed by kind"
        return decode(message.value, where=where).restored(received.id)  # type: ignore[no-any-return]

    return decoded


class Each(Generic[T]):
    """One after another, until there is none in time. Not a generator: those want to be closed after a `break`."""

    def __init__(self, next: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._next = next

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._next()
        except TimeoutError:
            raise StopAsyncIteration from None
