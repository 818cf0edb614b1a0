"""CoNNTrA, coordinate descent over discrete parameters (Date et al., 2020)."""
