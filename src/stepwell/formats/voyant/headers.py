"""The path, the types and the names of the headers of the wire: those of the first version, and ours, which others
ignore."""

from __future__ import annotations

PROTOCOL_VERSION = "x-voyant-protocol"
DISPATCH_AUTH = "x-voyant-dispatch-auth"
OURS = "x-stepwell-"
"""How the names of ours begin."""

ACCEPT = "x-stepwell-accept"
CANCEL = "x-stepwell-cancel"
ATTEMPT = "x-stepwell-attempt"
HOOKS = "x-stepwell-hooks"
HOOK_KEY = "x-stepwell-hook-key"
NAMESPACE = "x-stepwell-namespace"
KEY_ID = "x-stepwell-key-id"
TIMESTAMP = "x-stepwell-timestamp"
NONCE = "x-stepwell-nonce"
SIGNATURE = "x-stepwell-signature"
SPEAKS = "x-stepwell-speaks"

STEP_PATH = "/__voyant/workflow-step"
"""Where orchestrators expect a worker. Ours does not look at the path itself, but signatures may hold it."""
JSON_TYPE = "application/json; charset=utf-8"
LINES_TYPE = "application/x-ndjson"
