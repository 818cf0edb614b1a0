"""Evaluate candidate values of one parameter without re-running the network (CoNNTrA)."""
