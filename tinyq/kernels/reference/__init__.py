"""The plain NumPy twin of every kernel: the definition in readable form, and the float64 path of gradient checks."""
