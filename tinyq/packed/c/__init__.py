"""Export an integer program as C99."""
