"""Hooks of a run that a step worker runs: waits of kind MANUAL, which the orchestrator completes by their token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from stepwell.authoring.hooks import Hook, HookKeywords, check_token, door_of
from stepwell.errors import DefinitionError
from stepwell.formats.hooks import HookRequest, HookResponse, RecordedRequest
from stepwell.model.ids import CommandId
from stepwell.model.tokens import HookOptions

if TYPE_CHECKING:
    from stepwell.authoring.wire.context import WireContext

T = TypeVar("T")


class WireHook(Hook[T]):
    """A hook by the name that the wire has for it: `id` is the `tokenId`."""

    def __init__(
        self, context: WireContext, id: str, type: type[T], options: HookOptions, token: str | None, until: int | None
    ) -> None:
        doors, run = context.doors, context.run_id
        made = id if doors is None else doors.token(run, id, options)
        super().__init__(context, CommandId(id), made if token is None else token, type, until)
        self._wire = context
        self._is_request = type is HookRequest
        kind: Any = RecordedRequest if self._is_request else type
        self._typed = context._registry.codec.typed(kind).plain
        self._url = f"/__voyant/tokens/{id}" if doors is None else doors.url(made)

    @property
    def url(self) -> str:
        """Where to send the value, or the request. Who knows it can complete the hook."""
        return self._url

    def respond(self, request: HookRequest, response: HookResponse) -> None:  # noqa: ARG002 - the signature is the base's
        """Not over the wire."""
        raise _no_answer()

    async def _next(self) -> T:
        context = self._wire
        desk = context.program.desk

        def begin() -> Any:
            return desk.open(f"token:{self._id}", "MANUAL", {"tokenId": self._id}, lasts_ms=context._left(self._until))

        value = await context.answered(begin, self._typed, until=self._until, what=f"token {self._id}")
        return value.restored(self._id) if self._is_request else value  # type: ignore[no-any-return]


def wire_hook(context: WireContext, type: type[T], options: HookKeywords) -> WireHook[T]:
    """What `create_hook` makes."""
    door = door_of(type, options)
    if door.respond:
        raise _no_answer()
    if door.signed_by and context.doors is None:
        raise DefinitionError(
            "create_hook(signed_by=): this orchestrator does not say where hooks are reached, so nobody would check "
            "signatures there"
        )
    token = options.get("token")
    if token is not None:
        check_token(token)
    id = f"tok_{context.program.desk.number()}" if token is None else token
    until = context._until(options.get("timeout"), "create_hook(timeout)")
    return WireHook(context, id, type, door, token, until)


def _no_answer() -> DefinitionError:
    return DefinitionError(
        "hook.respond: a body that a step worker runs cannot answer the request that completes a hook; the wire has "
        "no word for it"
    )
