"""STE, the straight-through estimator on its own: the baseline of the other methods."""
