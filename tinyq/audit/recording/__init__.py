"""Observe a run and record each step: digests and metrics, written to the ledger."""
