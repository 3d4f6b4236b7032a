"""Flows: straight-line `async` functions, compiled to blueprints."""
