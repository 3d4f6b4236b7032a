"""Ids, and how they are derived from each other. Derived ids make every act idempotent."""

from __future__ import annotations

from hashlib import sha256
from typing import NewType

RunId = NewType("RunId", str)
CommandId = NewType("CommandId", str)
"""Stable within a generation of a run: `charge`, `charge:2`, `charge[7]`."""
Claim = NewType("Claim", str)
"""The token of one claim: `<store identity>:<nonce>`."""
MessageId = NewType("MessageId", str)

INVOCATION = "@invocation"
"""How the steps are called that are invocations of a body elsewhere: `@invocation[1]` is the first of a generation. No
step of a worker may begin so."""


def child_run_id(parent: RunId, base: int, command: CommandId, seed: str = "") -> RunId:
    """The id of a child run: the same for every replay of the command that starts it.

    The parent's seed tells apart the children of two runs that had one id after the other.
    """
    return RunId("c" + _digest(f"{parent}.{base}.{command}.{seed}"))


def lineage(seed: str) -> str:
    """Tells apart two runs that had one id after the other, and says nothing of the seed."""
    return _digest(seed)[:8]


def keyed_run_id(workflow: str, key: str) -> RunId:
    """The id of a run that was started with an idempotency key."""
    return RunId("k" + _digest(f"{workflow}\0{key}"))


def child_ended_id(child: RunId, end_seq: int) -> MessageId:
    """Contains the end's seq, so that a second end of one child would be a second message."""
    return MessageId(f"child:{child}:{end_seq}")


def event_message_id(event: str, index: int) -> MessageId:
    """The place of the event in the log of its name."""
    return MessageId(f"event:{event}:{index}")


def answer_stream(message: str) -> str:
    """The stream of a run in which its answer to the request in that message is."""
    return f"hook answers/{_digest(message)}"


def idempotency_key(run: RunId, base: int, command: CommandId) -> str:
    """What a step hands to the outside world; the same over all attempts and all crashes."""
    return f"{run}.{base}.{command}"


def is_invocation(id: str) -> bool:
    """Whether a step is an invocation of a body elsewhere."""
    return id.startswith(f"{INVOCATION}[")


def step_name(command: CommandId) -> str:
    """`charge`, of `charge`, `charge:2`, `charge[7]` and `charge[7]:2`."""
    return command.partition("[")[0].partition(":")[0]


def claim_identity(claim: Claim) -> str:
    """The opened store that made this claim."""
    return claim.partition(":")[0]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:24]
