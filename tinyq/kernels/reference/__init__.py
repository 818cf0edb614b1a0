"""A NumPy reference for every kernel: its definition in readable form, and the float64 path of gradient checks."""
