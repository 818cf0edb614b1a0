"""Reference implementations of kernels/reduction."""
