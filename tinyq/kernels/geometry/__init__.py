"""Work out which elements an operation reads: shapes, stride phases, packed inputs, pooling windows, spans."""
