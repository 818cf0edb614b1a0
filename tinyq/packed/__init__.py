"""Networks whose weights take 1 to 3 bits: the file format .tq.h5, and what runs it."""
