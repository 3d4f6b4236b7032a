"""What a server can be made of."""

from __future__ import annotations

import pytest

from stepwell import DefinitionError, Stepwell
from stepwell.server import Server, ServerOptions


def test_an_app_of_one_namespace_is_no_server_for_all() -> None:
    with pytest.raises(DefinitionError, match="in 'acme' alone: leave out namespace=, and make keys for it"):
        Server(Stepwell("memory://", namespace="acme"), ServerOptions())
