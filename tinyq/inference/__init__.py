"""Evaluate networks: record the steps once, then fuse batch norms, additions and ReLUs into the products."""
