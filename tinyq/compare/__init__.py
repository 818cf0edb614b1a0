"""Compare runs: what differs in their settings and their figures, as tables and as one picture of all curves."""
