"""Read and write .tq.h5 files: bit-packed codes, the network as a graph, and the encoding of a trained model."""
