"""Multiply float32 matrices and convolve: pack the operands, select a driver, run register tiles."""
