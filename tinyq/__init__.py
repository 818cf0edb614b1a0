"""tinyq: train, audit and run networks whose weights are confined to a few values."""
__version__ = "0.1.0"
