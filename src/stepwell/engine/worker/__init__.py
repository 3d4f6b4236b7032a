"""One invocation of a body of ours over the wire: a journal slice goes in, steps and an outcome come out."""
