"""Find in the graph of an ONNX file which of tinyq's networks it is, and take its weights over."""
