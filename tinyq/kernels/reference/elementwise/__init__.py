"""Reference implementations of kernels/elementwise."""
