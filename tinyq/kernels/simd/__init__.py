"""Emit LLVM code for vectors: loads, stores, fused multiply-adds, the register tile, ordered sums."""
