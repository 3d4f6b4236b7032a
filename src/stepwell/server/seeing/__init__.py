"""Seeing what goes on in a server: metrics, and whether it can do its work."""

from stepwell.server.seeing.seeing import Seeing

__all__ = ["Seeing"]
