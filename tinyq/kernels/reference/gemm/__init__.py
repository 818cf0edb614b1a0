"""Reference implementations of kernels/gemm."""
