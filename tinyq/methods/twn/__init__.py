"""TWN, ternary weight networks (Li, Zhang and Liu, 2016)."""
