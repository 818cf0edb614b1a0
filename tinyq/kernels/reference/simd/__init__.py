"""Reference implementations of kernels/simd."""
