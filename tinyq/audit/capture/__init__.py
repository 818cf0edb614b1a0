"""Listen to a step while it runs: which primitives and vjps it went through, and all of their arrays."""
