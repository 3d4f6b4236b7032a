"""Stepwell over HTTP, with the verbs and types that an app has in process. The extra `stepwell[client]`."""

try:
    from stepwell.client.app import Client
except ModuleNotFoundError as missing:
    if missing.name != "httpx":
        raise
    text = "stepwell.client needs httpx, which is not installed: pip install 'stepwell[client]'"
    raise ModuleNotFoundError(text, name="httpx") from missing
from stepwell.client.handles import ClientHandle
from stepwell.client.options import ClientKeywords
from stepwell.client.runs import ClientRuns
from stepwell.client.shapes import AccessToken
from stepwell.client.sync.app import SyncClient
from stepwell.client.sync.handles import SyncClientHandle
from stepwell.client.sync.runs import SyncClientRuns
from stepwell.client.sync.tokens import SyncClientTokens
from stepwell.client.tokens import ClientTokens

__all__ = [
    "AccessToken",
    "Client",
    "ClientHandle",
    "ClientKeywords",
    "ClientRuns",
    "ClientTokens",
    "SyncClient",
    "SyncClientHandle",
    "SyncClientRuns",
    "SyncClientTokens",
]
