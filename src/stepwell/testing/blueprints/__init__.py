"""Random blueprints, and a plain evaluator that says what each gives.

The evaluator has no journal and no time, and shares nothing with the engine but the expressions.
"""
