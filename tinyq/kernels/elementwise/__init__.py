"""Compute element by element: activations, transcendental functions, level sets, optimiser updates."""
