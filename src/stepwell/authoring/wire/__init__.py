"""Our workflows as a step worker runs them: `context` is what their bodies get, `sessions` begins an invocation,
`answers` and `errors` write down what it comes to."""
