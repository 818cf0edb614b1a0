"""Run a packed network in integers: lowering, scales, and the executors."""
