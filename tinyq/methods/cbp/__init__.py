"""CBP, constrained backpropagation (Kim and Jeong, NeurIPS 2021)."""
