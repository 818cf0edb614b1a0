"""Reference implementations of kernels/integer."""
