"""Use a saved network: load it, describe it, measure it, convert it, pack it."""
