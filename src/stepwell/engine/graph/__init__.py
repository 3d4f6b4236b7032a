"""The graph program: blueprints on the engine."""
