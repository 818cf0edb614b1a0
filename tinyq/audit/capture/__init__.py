"""Follow a step while it runs: name its primitives and vjps, and keep their arrays."""
