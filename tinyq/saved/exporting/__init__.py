"""Export a saved network as C together with what its data tell."""
