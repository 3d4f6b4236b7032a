"""Write docs/openapi.json: the HTTP API, from the declarations of its routes.

Run it after a route has changed; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path

from stepwell.server.catalogue import ENDPOINTS
from stepwell.server.openapi import openapi

TARGET = Path(__file__).parents[1] / "docs" / "openapi.json"


def render() -> str:
    """The document."""
    return json.dumps(openapi(ENDPOINTS), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
