"""Define what a record holds: the hash chain, digests of arrays, the order of a step's operations, the environment."""
