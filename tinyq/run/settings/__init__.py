"""Resolve settings: one table, flags, TOML files and recipes."""
