"""How fast, beside the limit, a toy and a peer. `python -m benchmarks --help`."""
