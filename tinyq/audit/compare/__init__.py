"""Compare the ledgers of two runs: find the first record at which they part, and name what differs."""
