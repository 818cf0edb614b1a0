"""Reference implementations of kernels/pooling."""
