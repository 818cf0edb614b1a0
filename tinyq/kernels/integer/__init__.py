"""Multiply and requantise 8- and 16-bit codes exactly, on any instruction set."""
