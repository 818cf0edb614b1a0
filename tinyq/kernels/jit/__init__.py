"""Compile kernels with numba: decorators, linking, the private cache, and the instruction set they are compiled for."""
