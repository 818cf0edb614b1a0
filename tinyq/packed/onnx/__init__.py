"""Write a packed network as ONNX: in float, or with activations rounded to tinyq's codes."""
