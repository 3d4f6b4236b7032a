"""A simulator: real engine, workers and clients on a virtual clock, and all that can go wrong, from one seed."""
