"""The blocking twin of the client: the same names without await, on connections of its own and without a thread."""
