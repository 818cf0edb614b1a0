"""Check one step in float64: primitives, vjps, the method's own arithmetic, the update."""
