"""State how raw samples become the input of a network."""
