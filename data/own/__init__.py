"""Make splits, inputs and targets of a user's own arrays."""
