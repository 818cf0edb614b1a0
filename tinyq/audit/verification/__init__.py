"""Verify a run folder against its ledger without repeating any step."""
