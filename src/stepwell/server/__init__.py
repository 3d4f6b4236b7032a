"""Stepwell over HTTP: an ASGI application. The extra `stepwell[server]`."""

from stepwell.server.application import Server
from stepwell.server.options import ServerOptions
from stepwell.server.problems import Problem

__all__ = ["Problem", "Server", "ServerOptions"]
