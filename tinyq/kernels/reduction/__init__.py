"""Reduce arrays in the contract's order: sums, batch normalisation, cross-entropy, digests."""
