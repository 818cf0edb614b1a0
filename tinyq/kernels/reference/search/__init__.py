"""Reference implementations of kernels/search."""
