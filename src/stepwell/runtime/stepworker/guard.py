"""Who may ask a step worker: requests are signed with a secret that both ends have."""

from __future__ import annotations

from stepwell.formats.voyant.headers import DISPATCH_AUTH, SIGNATURE
from stepwell.formats.voyant.invocations import Refused
from stepwell.formats.voyant.signing import Nonces, SignedRequest, Unsigned, verify_v1, verify_v2
from stepwell.ports import Clock
from stepwell.runtime.stepworker.options import StepWorkerOptions
from stepwell.runtime.stepworker.replies import Asked


class Guard:
    """Checks signatures. Without secrets it lets everybody in.

    Every request carries the signature of the first version of the wire, over its body. One of ours carries a second,
    over all that matters and the time, and counts once: who has seen it cannot send it again.
    """

    def __init__(self, options: StepWorkerOptions, clock: Clock) -> None:
        self._secrets = options.secrets
        self._require_v2 = options.require_v2
        self._clock = clock
        self._nonces = Nonces()

    def check_head(self, asked: Asked) -> None:
        """Before the body is read: `Refused` 401 if there is no signature at all."""
        if self._secrets and not asked.header(DISPATCH_AUTH):
            raise Refused(401, "unauthorized", f"missing {DISPATCH_AUTH} header")

    def check(self, asked: Asked) -> None:
        """`Refused` 401."""
        if not self._secrets:
            return
        headers = asked.headers
        try:
            verify_v1(self._secrets, headers.get(DISPATCH_AUTH), asked.body)
            if self._require_v2 or SIGNATURE in headers:
                signed = SignedRequest(method=asked.method, path=asked.path, headers=headers, body=asked.body)
                verify_v2(self._secrets, signed, self._nonces, self._clock.now())
        except Unsigned as error:
            raise Refused(401, "unauthorized", str(error)) from None
