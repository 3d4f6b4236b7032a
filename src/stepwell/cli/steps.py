"""`stepwell step-worker`: the workflows of an app, for an orchestrator elsewhere."""

from __future__ import annotations

from argparse import Namespace

from stepwell.cli.problems import DONE
from stepwell.cli.serve import loop_factory, need

__all__ = ["loop_factory", "step_worker"]


async def step_worker(arguments: Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    need("stepwell.cli.serving_steps")
    from stepwell.cli.serving_steps import serve_steps

    await serve_steps(arguments)
    return DONE
